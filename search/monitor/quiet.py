"""The terminal of a run that is to be quiet: at the end it has the run's folder, and nothing else."""

from collections.abc import Sequence
from typing import Any, TextIO

from search.monitor.events import EpochEnd, LayerRow, Tick, Totals


class QuietMonitor:
    """Prints the folder of a run that is complete."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def tick(self, tick: Tick) -> None:
        """Does nothing."""

    def progress(self, part: str, done: int, total: int) -> None:
        """Does nothing."""

    def epoch(self, end: EpochEnd) -> None:
        """Does nothing."""

    def note(self, text: str) -> None:
        """Does nothing."""

    def table(self, rows: Sequence[LayerRow], totals: Totals) -> None:
        """Does nothing."""

    def close(self, summary: dict[str, Any]) -> None:
        if "folder" in summary:
            print(summary["folder"], file=self._stream, flush=True)
