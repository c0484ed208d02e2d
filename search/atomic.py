"""Files are written such that a kill or a full disk leaves the old file, whole."""

import os
import re
from collections.abc import Callable
from pathlib import Path

from search.errors import FileError, file_errors

PART = re.compile(r"\..+\.\d+\.part")  # the name of a temporary file


def atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Calls write(temporary), then renames the temporary file, which is removed if anything fails.

    Raises:
        FileError: the file could not be written. The message has the reason, for example that no space is left.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")  # PART
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        message = f"{path}: not written ({error.strerror or error}); what was there is intact"
        raise FileError(error.errno, message) from error
    finally:
        temporary.unlink(missing_ok=True)


def is_part(path: Path) -> bool:
    """Whether the file is a temporary one. A process that is killed leaves those that it was writing."""
    return bool(PART.fullmatch(path.name))


def remove_parts(folder: Path) -> None:
    """Removes what killed processes left in a folder and those below it, where no process is writing now."""
    with file_errors(folder, "cannot be cleared"):
        for path in filter(is_part, folder.rglob(".*.part")):
            path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes the whole text in UTF-8, or nothing.

    Raises:
        FileError: as `atomically`.
    """
    atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Writes all bytes, or nothing.

    Raises:
        FileError: as `atomically`.
    """
    atomically(path, lambda temporary: temporary.write_bytes(content))
