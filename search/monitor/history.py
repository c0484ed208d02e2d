"""A run's epochs on disk: history.jsonl has a line for each. The report and TensorBoard's pictures are drawn from it.

A run that is resumed goes on in the same file. The lines of epochs that are done again are dropped first.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from search.atomic import write_text
from search.errors import UsageError, file_errors
from search.files.documents import json_object, read_lines
from search.kinds import NUMBER, TEXT, WHOLE, by_name, listed, unlike
from search.monitor.events import EpochEnd, LayerRow, Tick, Totals

HISTORY_FILE = "history.jsonl"
DIGITS = 4  # of a gate's shadow value
KINDS = {
    "phase": TEXT,
    "epoch": WHOLE,
    "epochs": WHOLE,
    "global_epoch": WHOLE,
    "scalars": by_name(NUMBER),
    "bits": by_name(by_name(WHOLE)),
    "gates": by_name(listed(NUMBER)),
}


class HistoryMonitor:
    """Appends a line after every epoch.

    Args:
        path: of the file. Its folder is made if it does not exist.
        first_epoch: the global epoch that this run, new or resumed, starts with. Lines from it on are dropped.
    """

    def __init__(self, path: Path, first_epoch: int = 0) -> None:
        self._path = path
        ends, _ = read_history(path) if path.is_file() else ([], [])
        write_text(path, "".join(_line(end) for end in ends if end.global_epoch < first_epoch))

    def tick(self, tick: Tick) -> None:
        """Does nothing: a line stands for an epoch."""

    def progress(self, part: str, done: int, total: int) -> None:
        """Does nothing: a line stands for an epoch."""

    def epoch(self, end: EpochEnd) -> None:
        with file_errors(self._path, "not written"), self._path.open("a", encoding="utf-8") as file:
            file.write(_line(end))

    def note(self, text: str) -> None:
        """Does nothing: notes belong to the terminal."""

    def table(self, rows: Sequence[LayerRow], totals: Totals) -> None:
        """Does nothing: the decided network is in files of its own."""

    def close(self, summary: dict[str, Any]) -> None:
        """Does nothing: the file is closed after every line."""


def read_history(path: Path) -> tuple[list[EpochEnd], list[str]]:
    """All epochs that can be read, and for every line that cannot be read, where it is and why.

    Raises:
        UsageError: there is no such file.
    """
    return read_lines(path, _epoch)


def _line(end: EpochEnd) -> str:
    gates = {name: [round(value, DIGITS) for value in values] for name, values in end.gates.items()}
    return json.dumps(asdict(end) | {"gates": gates}) + "\n"


def _epoch(line: str) -> EpochEnd:
    """The epoch that a line holds.

    Raises:
        UsageError: the line is no JSON, or lacks what an epoch has.
    """
    found = json_object(line)
    wrong = unlike(found, KINDS)
    if wrong:
        raise UsageError(f"is no epoch: {'; '.join(wrong.values())}")
    try:
        bits = {layer: {int(width): n for width, n in counts.items()} for layer, counts in found["bits"].items()}
    except ValueError as error:
        raise UsageError(f"is no epoch: bits are no counts by width ({error})") from error
    return EpochEnd(**{key: found[key] for key in KINDS} | {"bits": bits})
