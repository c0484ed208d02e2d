"""Runs that end in the middle, and how their outputs are compared with those of a run that was left alone."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from search.settings.run import Settings
from search.training.phase_state import PhaseCheckpoint
from tests.search.small import run

OUTPUTS = (
    "program.safetensors",
    "model.safetensors",
    "architecture.json",
    "onnx/network.onnx",
    "c/network.c",
    "c/weights.c",
)


class Killed(BaseException):
    """Ends a run as a kill would: nothing in a run catches it."""


@contextmanager
def killed(owner: Any, name: str, at: Sequence[int], behind: bool = False) -> Iterator[None]:
    """Inside, some calls of a method end the run.

    Args:
        owner: class of the method; name: of the method.
        at: numbers of the calls that do so, counted from 1.
        behind: they do so after they have done their work, not before.
    """
    original, calls = getattr(owner, name), []

    def method(*arguments):
        calls.append(arguments)
        found = original(*arguments) if behind or len(calls) not in at else None
        if len(calls) in at:
            raise Killed
        return found

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(owner, name, method)
        yield


def killed_run(folder: Path, chosen: Settings, saves: int) -> None:
    """Leaves a run in the folder that was killed behind so many checkpoints."""
    with killed(PhaseCheckpoint, "save", at=(saves,), behind=True), pytest.raises(Killed):
        run(folder, chosen)


def same_outputs(a: Path, b: Path) -> bool:
    """Whether two runs left the same bytes."""
    return all((a / name).read_bytes() == (b / name).read_bytes() for name in OUTPUTS)
