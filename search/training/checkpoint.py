"""Checkpoints of a run: one file for each phase, rewritten whole after every epoch. A kill loses at most one epoch.

A file is what torch.save writes, followed by its SHA-256, so that no damage goes unseen. torch.load reads it as it is.
"""

from hashlib import sha256
from io import BytesIO
from pathlib import Path
from reprlib import repr as short
from typing import Any

import torch

from search.atomic import write_bytes
from search.errors import PicojouleError, file_errors
from search.files.tensors import TENSOR
from search.kinds import (
    COUNT,
    FINITE,
    NOTHING,
    NUMBER,
    OBJECT,
    TEXT,
    TRUTH,
    Kind,
    by_name,
    either,
    having,
    listed,
    unlike,
)

SHOWN = 200  # characters of an error of torch
CHECKPOINT_FOLDER = "checkpoints"
DIGEST = 32  # bytes
NUMBERS = by_name(TENSOR)
BEST = Kind(
    "[a number, tensors by name]",
    lambda value: (
        isinstance(value, tuple | list) and len(value) == 2 and FINITE.holds(value[0]) and NUMBERS.holds(value[1])
    ),
)
RETREAT = {
    "value": either(FINITE, NOTHING),
    "numbers": NUMBERS,
    "margins": COUNT,
    "loss": NUMBER,
    "worse": COUNT,
    "times": COUNT,
}
KINDS = {
    "space": NUMBERS,
    "optimizers": listed(OBJECT),
    "objective": OBJECT,
    "architecture": TEXT,
    "epoch": COUNT,
    "epochs": COUNT,
    "seconds": FINITE,
    "finished": TRUTH,
    "best": either(BEST, NOTHING),
    "since_best": COUNT,
    "rng": TENSOR,
}
LATER = {  # earlier versions wrote none of these
    "kept": TEXT,
    "in_integers": TRUTH,
    "retreat": Kind("a retreat", lambda value: having(RETREAT).holds(value) and value.keys() <= RETREAT.keys()),
    "cuda_rng": either(TENSOR, NOTHING),
}


class CheckpointError(PicojouleError, ValueError):
    """A checkpoint that cannot be read."""


def save(path: Path, state: dict[str, Any]) -> None:
    """Writes a state of plain containers, numbers and tensors."""
    content = BytesIO()  # in memory first: torch.save reports a full disk as an internal failure
    torch.save(state, content)
    whole = content.getvalue()
    write_bytes(path, whole + sha256(whole).digest())


def load(path: Path) -> dict[str, Any] | None:
    """The state, or None where there is no such file.

    Raises:
        CheckpointError: the file is damaged, or holds no state of a phase. The message says how to go on.
    """
    if not path.exists():
        return None
    with file_errors(path, "cannot be read"):
        content = path.read_bytes()
    whole, digest = content[:-DIGEST], content[-DIGEST:]
    if sha256(whole).digest() != digest:
        raise CheckpointError(
            f"{path}: the checkpoint is damaged (its checksum is of other content). "
            "Delete it to repeat this phase, and resume again."
        )
    try:
        state: Any = torch.load(BytesIO(whole), weights_only=True, map_location="cpu")
    except Exception as error:  # whatever reading it raises
        raise other_content(path, f"cannot be read, {' '.join(str(error).split())[:SHOWN]}") from error
    if not isinstance(state, dict):
        raise other_content(path, f"is {short(state)}")
    wrong = unlike(state, KINDS | {name: kind for name, kind in LATER.items() if name in state})
    if wrong:
        raise other_content(path, "; ".join(wrong.values()))
    return state


def other_content(path: Path, found: str) -> CheckpointError:
    """The error for a whole file that holds something else than it should."""
    return CheckpointError(
        f"{path}: the checkpoint is of another network, or of another version: {found}. "
        "Delete it to repeat this phase, and resume again."
    )


def checkpoint_file(folder: Path, phase: str) -> Path:
    """Where a run's folder holds the checkpoint of the phase with this label."""
    return folder / CHECKPOINT_FOLDER / f"{phase.replace(' ', '-')}.pt"
