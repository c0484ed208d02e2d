"""Checkpoints of a run: one file for each phase, rewritten whole after every epoch. A kill loses at most one epoch.

A file is what torch.save writes, followed by its SHA-256, so that no damage goes unseen. torch.load reads it as it is.
"""

from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from search.atomic import write_bytes
from search.errors import PicojouleError, file_errors

DIGEST = 32  # bytes


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
        CheckpointError: the file is damaged. The message says how to go on.
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
    state: dict[str, Any] = torch.load(BytesIO(whole), weights_only=True, map_location="cpu")
    return state


def checkpoint_file(folder: Path, phase: str) -> Path:
    """Where a run's folder holds the checkpoint of the phase with this label."""
    return folder / "checkpoints" / f"{phase.replace(' ', '-')}.pt"
