"""The run as TensorBoard events: scalars, weight bits of each layer, pictures of gates and bits.

The step of an event is the epoch, counted over all phases.
A run that is resumed writes into the same folder. The events of epochs that are done again are purged, and the rows of
the pictures come back from `history.jsonl`, a line an epoch, beside the events.
"""

import json
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from search.pictures import Image, bits_picture, gate_picture
from search.progress import EpochEnd, LayerRow, Tick, Totals

HISTORY_FILE = "history.jsonl"
PICTURES_PER_PHASE = 10  # as many as TensorBoard keeps of one tag


class TensorBoardMonitor:
    """Writes a run's epochs into a folder that TensorBoard reads.

    Args:
        folder: made if it does not exist.
        first_epoch: the global epoch this run, new or resumed, starts with; what the folder holds from it on is void.
    """

    def __init__(self, folder: Path, first_epoch: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._history_file = folder / HISTORY_FILE
        self._history = [line for line in _read_history(self._history_file) if line["epoch"] < first_epoch]
        _write_history(self._history_file, self._history)
        self._writer = SummaryWriter(str(folder), purge_step=first_epoch)

    def tick(self, tick: Tick) -> None:
        """Nothing: the step of every event is an epoch."""

    def epoch(self, end: EpochEnd) -> None:
        for name, value in end.scalars.items():
            self._writer.add_scalar(name, value, end.global_epoch)
        for layer, bits in end.bits.items():
            self._add_bits(f"bits/{layer}", bits, end.global_epoch)
        self._remember(end)
        if _is_picture_due(end):
            self._add_pictures(end)
        self._writer.flush()

    def note(self, text: str) -> None:
        """Nothing: notes belong to the terminal."""

    def table(self, rows: Sequence[LayerRow], totals: Totals) -> None:
        """Nothing: the closing table belongs to the terminal and the report."""

    def close(self, summary: dict[str, Any]) -> None:
        self._writer.close()

    def _add_bits(self, tag: str, bits: dict[int, int], step: int) -> None:
        """A histogram with one bucket a width, 0.5 to either side; the default buckets would smear the widths."""
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

    def _remember(self, end: EpochEnd) -> None:
        bits = {layer: sorted(widths.items()) for layer, widths in end.bits.items()}  # pairs: JSON has no integer keys
        line = {"epoch": end.global_epoch, "gates": end.gates, "bits": bits}
        self._history.append(line)
        with self._history_file.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def _add_pictures(self, end: EpochEnd) -> None:
        for gate in end.gates:
            rows = [line["gates"][gate] for line in self._history if gate in line["gates"]]
            self._add_picture(f"gates/{gate}", gate_picture(rows), end.global_epoch)
        for layer in end.bits:
            widths = [dict(line["bits"][layer]) for line in self._history if layer in line["bits"]]
            self._add_picture(f"bits/{layer}", bits_picture(widths), end.global_epoch)

    def _add_picture(self, tag: str, picture: Image, step: int) -> None:
        self._writer.add_image(tag, picture, step, dataformats="HWC")


def _is_picture_due(end: EpochEnd) -> bool:
    """A picture holds all epochs before it, so a few a phase are enough; the phase's last epoch always has one."""
    done = end.epoch + 1
    return done == end.epochs or done % ceil(end.epochs / PICTURES_PER_PHASE) == 0


def _read_history(file: Path) -> list[dict[str, Any]]:
    """The epochs in the file; a last line that a kill cut short is left out."""
    if not file.exists():
        return []
    whole_lines = file.read_text().split("\n")[:-1]
    return [json.loads(line) for line in whole_lines]


def _write_history(file: Path, history: list[dict[str, Any]]) -> None:
    draft = file.with_suffix(".tmp")
    draft.write_text("".join(json.dumps(line) + "\n" for line in history))
    draft.replace(file)
