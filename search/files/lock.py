"""One process at a time works in a run's folder. It holds a lock there, which the system takes back when it ends."""

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from search.errors import FileError, file_errors
from search.files.run_folders import LOCK_FILE, RunFolderError

WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # from file systems that have none


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Inside it no other process holds the folder. A process that was killed holds nothing.

    The file of the lock stays: whoever removed it could remove the lock of another. A file system without locks, as
    some in networks are, is no reason not to run.

    Raises:
        RunFolderError: another process holds the folder.
    """
    with _opened(folder / LOCK_FILE) as file:
        _lock(folder, file)
        yield


def _opened(path: Path) -> TextIO:
    with file_errors(path, "cannot be opened"):
        return path.open("a+", encoding="utf-8")


def _lock(folder: Path, file: TextIO) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.seek(0)
        raise RunFolderError(
            f"folder '{folder}': {file.read().strip() or 'another process'} works on its run. Wait until it ends, or "
            "stop it. A process that was killed holds nothing."
        ) from error
    except OSError as error:
        if error.errno not in WITHOUT_LOCKS:
            raise FileError(error.errno, f"{file.name}: cannot be locked ({error.strerror})") from error
    with file_errors(Path(file.name), "not written"):
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
