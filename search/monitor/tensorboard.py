"""The run as TensorBoard events: scalars, the weight bits of each layer, and pictures of gates and bits.

The step of an event is the epoch, counted over all phases.
A run that is resumed writes into the same folder. The events of epochs that are done again are purged, and the rows of
the pictures come from the run's history, so the history's monitor has to be told of an epoch before this one.
"""

from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from search.monitor.events import EpochEnd, LayerRow, Tick, Totals
from search.monitor.history import read_history
from search.monitor.pictures import Image, bits_picture, gate_picture

PICTURES_PER_PHASE = 10  # as many as TensorBoard keeps of one tag


class TensorBoardMonitor:
    """Writes a run's epochs into a folder that TensorBoard reads.

    Args:
        folder: is made if it does not exist.
        history: the run's history.jsonl.
        first_epoch: the global epoch that this run, new or resumed, starts with. Events from it on are purged.
    """

    def __init__(self, folder: Path, history: Path, first_epoch: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._history = history
        self._writer = SummaryWriter(str(folder), purge_step=first_epoch)

    def tick(self, tick: Tick) -> None:
        """Does nothing: the step of every event is an epoch."""

    def progress(self, part: str, done: int, total: int) -> None:
        """Does nothing: the step of every event is an epoch."""

    def epoch(self, end: EpochEnd) -> None:
        for name, value in end.scalars.items():
            self._writer.add_scalar(name, value, end.global_epoch)
        for layer, bits in end.bits.items():
            self._add_bits(f"bits/{layer}", bits, end.global_epoch)
        if _is_picture_due(end):
            self._add_pictures(end)
        self._writer.flush()

    def note(self, text: str) -> None:
        """Does nothing: notes belong to the terminal."""

    def table(self, rows: Sequence[LayerRow], totals: Totals) -> None:
        """Does nothing: the closing table belongs to the terminal and the report."""

    def close(self, summary: dict[str, Any]) -> None:
        self._writer.close()

    def _add_bits(self, tag: str, bits: dict[int, int], step: int) -> None:
        """A histogram with a bucket for each width, 0.5 to either side. The default buckets would mix widths."""
        widths = range(min(bits), max(bits) + 1)
        self._writer.add_histogram_raw(
            tag,
            min=min(bits) - 0.5,
            max=max(bits) + 0.5,
            num=sum(bits.values()),
            sum=sum(width * count for width, count in bits.items()),
            sum_squares=sum(width**2 * count for width, count in bits.items()),
            bucket_limits=[width + 0.5 for width in widths],
            bucket_counts=[bits.get(width, 0) for width in widths],
            global_step=step,
        )

    def _add_pictures(self, end: EpochEnd) -> None:
        ends, _ = read_history(self._history)
        for gate in end.gates:
            rows = [past.gates[gate] for past in ends if gate in past.gates]
            self._add_picture(f"gates/{gate}", gate_picture(rows), end.global_epoch)
        for layer in end.bits:
            widths = [past.bits[layer] for past in ends if layer in past.bits]
            self._add_picture(f"bits/{layer}", bits_picture(widths), end.global_epoch)

    def _add_picture(self, tag: str, picture: Image, step: int) -> None:
        self._writer.add_image(tag, picture, step, dataformats="HWC")


def _is_picture_due(end: EpochEnd) -> bool:
    """A picture holds all epochs before it, so a few in a phase are enough. The phase's last epoch always has one."""
    done = end.epoch + 1
    return done == end.epochs or done % ceil(end.epochs / PICTURES_PER_PHASE) == 0
