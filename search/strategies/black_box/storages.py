"""Where Optuna's studies are kept: databases and journals, and the messages where these do not answer."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from search.atomic import write_bytes
from search.errors import PicojouleError, UsageError
from search.files.urls import without_password

PAUSES = 0.2, 1.0  # seconds, before a database is tried again
GONE = (StorageInternalError, SQLAlchemyError, OSError)


class StorageError(PicojouleError, RuntimeError):
    """The storage of a study does not answer, or what it holds is damaged."""


def storage_at(place: str) -> BaseStorage:
    """The database of a URL, or else the journal in a file.

    Where processes start together, one of them makes the database's tables and the others fail, and then look again.

    Raises:
        StorageError: the journal is damaged.
    """
    if "://" not in place:
        _mend(Path(place))
        try:
            return JournalStorage(JournalFileBackend(place))
        except GONE:
            raise
        except Exception as error:  # Optuna replays lines unchecked, and trips over them in any way
            raise StorageError(
                f"{place}: its lines make no study ({error!r}). Restore the file from a copy, or start a new run."
            ) from error
    for pause in PAUSES:
        try:
            return RDBStorage(place)
        except GONE:
            time.sleep(pause)
    return RDBStorage(place)


@contextmanager
def answering(place: str, advice: str) -> Iterator[None]:
    """Inside it a storage is asked, and errors of the storage are worded.

    Args:
        place: what strategy.storage says, or the file of a journal. A password in it is not shown.

    Raises:
        StorageError: the storage does not answer.
        UsageError: it is no URL of a database, or the driver of the database is missing.
    """
    shown = f"strategy.storage '{without_password(place)}'"
    try:
        yield
    except ImportError as error:
        raise UsageError(f"{shown}: the package that talks to it is missing ({error}). Install it.") from error
    except ArgumentError as error:  # before SQLAlchemyError, which it is
        raise UsageError(
            f"{shown}: is no URL of a database ({_first_line(error)}). Write sqlite:///FILE, "
            "postgresql+psycopg2://USER@HOST/DATABASE or another that SQLAlchemy knows, or the path of a file."
        ) from error
    except GONE as error:
        raise StorageError(f"{shown}: does not answer ({_first_line(error)}). {advice}") from error


def _first_line(error: Exception) -> str:
    return without_password(str(error).partition("\n")[0])


def _mend(journal: Path) -> None:
    """Cuts off a last line that was written in part, because its process was killed or the disk was full.

    Every line changes what the lines before it say. So the lines before are what was known a moment earlier. This
    happens under the lock that every process takes to write, so a line that another process writes is read whole.

    Raises:
        StorageError: a line before the last is damaged.
    """
    if not journal.exists() or not _damaged(journal.read_bytes()):
        return
    lock = JournalFileSymlinkLock(str(journal))
    lock.acquire()
    try:
        content = journal.read_bytes()
        lines, damaged = content.splitlines(keepends=True), _damaged(content)
        if damaged and damaged < len(lines):
            raise StorageError(
                f"{journal}, line {damaged} of {len(lines)}: is no line of a study's journal. Restore the file from a "
                f"copy, or keep what was known before: `head -n {damaged - 1} {journal} > whole`, and put that in its "
                "place."
            )
        if damaged:
            write_bytes(journal, b"".join(lines[:-1]))
    finally:
        lock.release()


def _damaged(content: bytes) -> int:
    """The number of the first damaged line, from 1; 0: no line is damaged."""
    for number, line in enumerate(content.splitlines(keepends=True), start=1):
        if not line.endswith(b"\n") or not _is_change(line):
            return number
    return 0


def _is_change(line: bytes) -> bool:
    try:
        change = json.loads(line)
    except ValueError:
        return False
    return isinstance(change, dict) and "op_code" in change
