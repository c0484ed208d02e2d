"""What the data sets of `python -m benchmarks.robust` are made of, and the form that they are brought into."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from search.errors import UsageError

Arrays = dict[str, np.ndarray]
SPLITS = ("train", "val", "test")


class SourceMissing(UsageError):
    """A data set cannot be made, because what it is made of is not here."""


@dataclass(frozen=True)
class Sources:
    """Files that data sets are made of. Each field is the name of its data set; None: the file was not given.

    Attributes:
        cifar10: CIFAR-10 as a tar archive of train/CLASS/*.jpg and test/CLASS/*.jpg.
        spoken_digits: the Free Spoken Digit Dataset as .npz: x (N, 8000) int16 at 8 kHz, y (N,), speaker (N,), length
            (N,) in samples.
        motion: watch_dataset.npy of the package seglearn; None: the file of the package that is installed.
    """

    cifar10: Path | None = None
    spoken_digits: Path | None = None
    motion: Path | None = None

    @staticmethod
    def of(arguments: argparse.Namespace) -> "Sources":
        """The files that are given as options, else in the environment."""
        given = {f.name: getattr(arguments, f.name) or os.environ.get(_variable(f.name)) for f in fields(Sources)}
        return Sources(**{name: Path(value) for name, value in given.items() if value})

    @staticmethod
    def add_options(parser: argparse.ArgumentParser) -> None:
        for field in fields(Sources):
            says = f"file that '{field.name}' is made of; without it {_variable(field.name)}"
            parser.add_argument(_flag(field.name), type=Path, metavar="FILE", help=says)


def missing(name: str, what: str) -> SourceMissing:
    """Says what to give, and how."""
    return SourceMissing(f"data set '{name}': not here is {what}. Give it by {_flag(name)} FILE or {_variable(name)}.")


def _variable(name: str) -> str:
    return f"PICOJOULE_{name.upper()}"


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def arrays_of(xs: Sequence[np.ndarray], ys: Sequence[np.ndarray]) -> Arrays:
    """As a .npz file names them. Images and labels are those of training, validation and test, in that order."""
    named = {f"x_{split}": x for split, x in zip(SPLITS, xs, strict=True)}
    return named | {f"y_{split}": np.asarray(y, np.int64) for split, y in zip(SPLITS, ys, strict=True)}
