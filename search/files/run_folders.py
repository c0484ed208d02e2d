"""Folders of runs."""

from datetime import datetime
from pathlib import Path

from search.atomic import is_part
from search.errors import PicojouleError, file_errors

LOCK_FILE = ".lock"


class RunFolderError(PicojouleError, ValueError):
    """A run folder that holds something already, or a folder that is no run folder."""


def refuse_taken(folder: Path) -> None:
    """Raises RunFolderError for a folder with something in it. What a run left that was killed at once is nothing."""
    with file_errors(folder, "cannot be a run's folder"):
        taken = folder.exists() and not all(path.name == LOCK_FILE or is_part(path) for path in folder.iterdir())
    if taken:
        raise RunFolderError(
            f"folder '{folder}' exists and is not empty: nothing there is overwritten. "
            f"Continue it with resume={folder}, or name another folder."
        )


def new_folder(name: str, named: str | None, job: int | None = None) -> Path:
    """The named folder, or a new runs/NAME/TIME. Runs that begin in the same second get folders of their own.

    Args:
        job: the number of the run in a multirun.

    Raises:
        RunFolderError: the named folder exists with something in it.
    """
    if named is not None:
        refuse_taken(Path(named))
        return Path(named)
    stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S") + ("" if job is None else f"_{job}")
    return _made(Path("runs") / name / stamp)


def _made(folder: Path) -> Path:
    """The folder, or where it is taken the first that is not of NAME+2, NAME+3 ..."""
    path, number = folder, 1
    with file_errors(folder, "cannot be made"):
        while not _new(path):
            number += 1
            path = folder.with_name(f"{folder.name}+{number}")
    return path


def _new(path: Path) -> bool:
    """Makes a folder; False where another run was quicker."""
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        return False
    return True
