"""A run's log: what a terminal without a live display shows of it, with the time before each line.

A run that is resumed goes on in the same file.
"""

import sys
from datetime import datetime
from io import TextIOBase
from pathlib import Path
from typing import Any

from search.errors import file_errors
from search.files.urls import without_password
from search.monitor.terminal import PlainMonitor
from search.monitor.words import Words

LOG_FILE = "run.log"


class LogMonitor(PlainMonitor):
    """Appends to the log, and says at the end what stopped a run that did not come to its summary."""

    def __init__(self, path: Path, words: Words) -> None:
        super().__init__(_Stamped(path), words)

    def close(self, summary: dict[str, Any]) -> None:
        super().close(summary)
        error = sys.exception()
        if error is not None and not summary:
            self.note(without_password(f"stopped by {type(error).__name__}: {error}".rstrip(": ")))


class _Stamped(TextIOBase):
    """Text that is appended to a file, line by line and each at once, behind the local time."""

    def __init__(self, path: Path) -> None:
        self._path, self._line = path, ""
        with file_errors(path, "cannot be read"):
            before = path.read_bytes() if path.is_file() else b""
        if before and not before.endswith(b"\n"):  # a kill may leave half a line
            self._append("\n")

    def write(self, text: str) -> int:
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            time = datetime.now().astimezone().isoformat(timespec="seconds")
            self._append(f"{time}  {line}".rstrip() + "\n")
        return len(text)

    def _append(self, text: str) -> None:
        with file_errors(self._path, "not written"), self._path.open("a", encoding="utf-8") as file:
            file.write(text)
