"""What a run tells those who watch it: plain values that go to monitors while it runs. No torch is needed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any, Protocol


@dataclass(frozen=True)
class Tick:
    """The state after a training step, or after a candidate of a search that tries them one by one.

    Args:
        phase: "warmup", "search", "finetune" ...
        epoch: number of this epoch in the phase, from 0.
        epochs: number of epochs in the phase.
        step: number of this step in the epoch, or of this candidate in the phase, from 0.
        steps: number of steps in the epoch, or of candidates.
        loss: mean of this epoch so far, on training data; None for candidates.
        value: the metric of this epoch so far, on training data; for candidates that of the best on validation data.
        costs: name -> expected cost now.
        budgets: name -> limit; its names are among those of costs.
        units: name -> unit, for every name in costs.
        run_fraction: share of the whole run, over all phases, that is done; 0 to 1.
    """

    phase: str
    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float | None
    value: float
    costs: dict[str, float]
    budgets: dict[str, float]
    units: dict[str, str]
    run_fraction: float


@dataclass(frozen=True)
class EpochEnd:
    """The state after an epoch.

    Args:
        phase: "warmup", "search", "finetune" ...
        epoch: number of this epoch in the phase, from 0.
        epochs: number of epochs in the phase.
        global_epoch: number of this epoch in the run, over all phases, from 0.
        scalars: "loss/train", "accuracy/val", "cost/flash_bytes", "lambda/flash_bytes", "temperature", "lr/weights" ...
        bits: layer -> {weight bits: output channels}; 0 bits are pruned channels.
        gates: gate -> shadow value of each channel.
    """

    phase: str
    epoch: int
    epochs: int
    global_epoch: int
    scalars: dict[str, float]
    bits: dict[str, dict[int, int]]
    gates: dict[str, list[float]]


@dataclass(frozen=True)
class LayerRow:
    """A layer of the decided network, for the closing table.

    Args:
        name: the layer's name in the network.
        op: "conv", "depthwise", "linear" ...
        kept: output channels that are left.
        channels: output channels of the seed network.
        bits: {weight bits: output channels}; empty for a layer without weights.
        flash_bytes: bytes of its constants.
        macs: multiply-adds for one input.
        ram_bytes: bytes of all tensors that are alive while it runs.
    """

    name: str
    op: str
    kept: int
    channels: int
    bits: dict[int, int]
    flash_bytes: int
    macs: int
    ram_bytes: int


@dataclass(frozen=True)
class Totals:
    """The decided network as a whole, for the closing table. RAM is a peak and not a sum.

    Args:
        flash_bytes: bytes of all constants.
        macs: multiply-adds for one input.
        peak_ram_bytes: the most bytes that are alive at once.
        peak_ram_layer: the layer during which they are alive.
    """

    flash_bytes: int
    macs: int
    peak_ram_bytes: int
    peak_ram_layer: str


class Monitor(Protocol):
    """What watches a run: the terminal, for example, or TensorBoard."""

    def tick(self, tick: Tick) -> None:
        """Takes the state after a training step. It is called often and has to return at once."""

    def progress(self, part: str, done: int, total: int) -> None:
        """Takes how many images a part that trains nothing has been through. It has to return at once.

        Args:
            part: "verify", "measure" ...
        """

    def epoch(self, end: EpochEnd) -> None:
        """Takes the state after an epoch."""

    def note(self, text: str) -> None:
        """Shows a line of text."""

    def table(self, rows: Sequence[LayerRow], totals: Totals) -> None:
        """Shows the decided network."""

    def close(self, summary: dict[str, Any]) -> None:
        """Ends the watching.

        Args:
            summary: what `summary.json` holds, as far as the run got; "folder", the run's folder, may be added.
        """


class Monitors:
    """Several monitors as one. Each of them is told, in the order in which they are given."""

    def __init__(self, monitors: Sequence[Monitor]) -> None:
        self._monitors = tuple(monitors)

    def tick(self, tick: Tick) -> None:
        for monitor in self._monitors:
            monitor.tick(tick)

    def progress(self, part: str, done: int, total: int) -> None:
        for monitor in self._monitors:
            monitor.progress(part, done, total)

    def epoch(self, end: EpochEnd) -> None:
        for monitor in self._monitors:
            monitor.epoch(end)

    def note(self, text: str) -> None:
        for monitor in self._monitors:
            monitor.note(text)

    def table(self, rows: Sequence[LayerRow], totals: Totals) -> None:
        for monitor in self._monitors:
            monitor.table(rows, totals)

    def close(self, summary: dict[str, Any]) -> None:
        for monitor in self._monitors:
            monitor.close(summary)


class Clock:
    """Seconds since this run, or its resumption, began, and an estimate of the seconds that are left."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._start = now()
        self._first_fraction: float | None = None
        self._fraction = 0.0

    def advance(self, fraction: float) -> None:
        """Takes the share of the run that is done. The first share was done before this clock began."""
        if self._first_fraction is None:
            self._first_fraction = fraction
        self._fraction = fraction

    def elapsed(self) -> float:
        return self._now() - self._start

    def left(self) -> float:
        """Seconds that are left at the pace so far; infinite before a pace is known."""
        done = self._fraction - (self._first_fraction or 0.0)
        return self.elapsed() * (1 - self._fraction) / done if done > 0 else inf

    def __str__(self) -> str:
        return f"{duration(self.elapsed())}, {duration(self.left())} left"


def duration(seconds: float) -> str:
    """83 -> "1:23", 3683 -> "1:01:23", infinite -> "?"."""
    if not isfinite(seconds):
        return "?"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
