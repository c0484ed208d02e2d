"""The errors that picojoule knows: what was asked for and cannot be done, and what can happen to a run.

A command that ends with one of these says so in one line, below the traceback of an error in code of the user where it
was raised from one. Anything else is a defect, and is shown with its traceback.
Each class also has a base among Python's own errors, so code that catches ValueError catches UsageError.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self


class PicojouleError(Exception):
    """The base of all. The message says what was found, what is possible, and what to do.

    Attributes:
        shows_cause: whether it was raised from an error in code of the user, such as the constructor of a model. A
            command shows the traceback of that error above the line.
    """

    shows_cause = False

    def showing_cause(self) -> Self:
        """The same error, and `shows_cause` is set."""
        self.shows_cause = True
        return self


class UsageError(PicojouleError, ValueError):
    """What was asked for cannot be done."""


class MissingTool(UsageError):
    """A program that is needed is not installed."""


class BuildFailed(UsageError):
    """A compiler is there, and fails; its message is that of the error."""


class FileError(PicojouleError, OSError):
    """A file that cannot be read or written. It has errno and strerror, as any OSError."""

    def __str__(self) -> str:
        return self.strerror or super().__str__()


@contextmanager
def file_errors(path: Path, failed: str) -> Iterator[None]:
    """Inside it an OSError becomes a FileError that names the file.

    Args:
        failed: what did not happen, for example "cannot be read".

    Raises:
        FileError: "PATH: FAILED (the system's reason)".
    """
    try:
        yield
    except OSError as error:
        raise FileError(error.errno, f"{path}: {failed} ({error.strerror or error})") from error
