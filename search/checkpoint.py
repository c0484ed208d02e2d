"""Checkpoints of a run: each phase one file, rewritten whole after every epoch: a kill loses at most one epoch."""

import pickle
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from spaces.files import atomically


class CheckpointError(ValueError):
    """A checkpoint that cannot be read."""


def save(path: Path, state: dict[str, Any]) -> None:
    """Plain containers, numbers and tensors."""
    content = BytesIO()  # in memory first: torch.save reports a full disk as an internal failure
    torch.save(state, content)
    atomically(path, lambda temporary: temporary.write_bytes(content.getvalue()))


def load(path: Path) -> dict[str, Any] | None:
    """The state, or None where there is no such file.

    Raises:
        CheckpointError: the file is damaged; it says how to go on.
    """
    if not path.exists():
        return None
    try:
        return torch.load(path, weights_only=True, map_location="cpu")
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError, ValueError, KeyError) as error:
        reason = str(error).split("\n")[0]
        raise CheckpointError(
            f"{path}: the checkpoint is damaged ({reason}). Delete it to repeat this phase, and resume again."
        ) from error
