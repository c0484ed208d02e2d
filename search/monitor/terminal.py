"""The run on a terminal: a live display on a TTY, elsewhere a plain line for each epoch. Both end in the same tables.

A kB is 1024 B, as in the data sheets of microcontrollers.
"""

import atexit
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from io import TextIOBase
from math import inf
from typing import Any, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from search.monitor.events import Clock, EpochEnd, LayerRow, Monitor, Tick, Totals, duration
from search.monitor.tables import ANY_WIDTH, LITERAL, closing_tables, emphasized, layer_table
from search.monitor.words import Metric, Words

REDRAW_SECONDS = 1 / 4  # a redraw takes about 3 ms
SILENT_SECONDS = 10.0  # after which a log of lines says how far a part is that trains nothing
BARS_FROM_WIDTH = 60  # columns; a narrower terminal shows numbers only
SPLITS = ("train", "val")
ITEM_GAP = "  "
NO_BREAK_SPACE = "\u00a0"


def terminal_monitor(stream: TextIO, words: Words) -> Monitor:
    """The monitor for a stream: live on a terminal, and plain where the stream is a file or a pipe.

    Args:
        words: of the task.
    """
    console = Console(file=stream, **LITERAL)
    if stream.isatty() and not console.is_dumb_terminal:
        return LiveMonitor(console, words)
    return PlainMonitor(stream, words)


class LiveMonitor:
    """Draws the state below the log, at most every REDRAW_SECONDS and only in tick(): there is no thread."""

    def __init__(self, console: Console, words: Words, now: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._words = words
        self._clock = Clock(now)
        self._tick: Tick | None = None
        self._progress = ""
        self._next_draw = 0.0
        self._live = Live(
            console=console,
            get_renderable=self._view,
            auto_refresh=False,
            transient=True,
            redirect_stdout=sys.stdout.isatty(),  # what is piped elsewhere stays there
            redirect_stderr=sys.stderr.isatty(),
        )
        atexit.register(self._live.stop)  # gives the cursor back when the run dies before close()

    def tick(self, tick: Tick) -> None:
        self._tick, self._progress = tick, ""
        self._clock.advance(tick.run_fraction)
        self._draw()

    def progress(self, part: str, done: int, total: int) -> None:
        self._progress = worded_progress(part, done, total)
        self._draw()

    def _draw(self) -> None:
        if self._clock.elapsed() < self._next_draw:
            return
        self._live.start()
        self._live.refresh()
        self._next_draw = self._clock.elapsed() + REDRAW_SECONDS

    def epoch(self, end: EpochEnd) -> None:
        self._console.print(emphasized(_wrapped(epoch_items(end, self._tick, self._words.metric), self._console.width)))

    def note(self, text: str) -> None:
        self._console.print(text)

    def table(self, rows: Sequence[LayerRow], totals: Totals) -> None:
        self._live.stop()
        self._console.print(layer_table(rows, totals, self._console))

    def close(self, summary: dict[str, Any]) -> None:
        self._live.stop()
        atexit.unregister(self._live.stop)
        if summary:
            for table in closing_tables(summary, self._words):
                self._console.print()
                self._console.print(table)

    def _view(self) -> RenderableType:
        width = self._console.width
        if self._progress:
            return Text(_wrapped([self._progress, duration(self._clock.elapsed())], width))
        if self._tick is None:
            return Text()
        return Group(_headline(self._tick, width, self._words.metric), _gauges(self._tick, self._clock, width))


class PlainMonitor:
    """Prints ASCII lines without escape codes, each of them at once, so that the log can be followed."""

    def __init__(self, stream: TextIO | TextIOBase, words: Words, now: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._words = words
        self._console = Console(width=ANY_WIDTH, force_terminal=False, color_system=None, **LITERAL)
        self._clock = Clock(now)
        self._tick: Tick | None = None
        self._last = 0.0  # by the clock, when the last line was printed

    def tick(self, tick: Tick) -> None:
        self._tick = tick
        self._clock.advance(tick.run_fraction)

    def progress(self, part: str, done: int, total: int) -> None:
        if self._clock.elapsed() >= self._last + SILENT_SECONDS:
            self.note(worded_progress(part, done, total))

    def epoch(self, end: EpochEnd) -> None:
        self.note(ITEM_GAP.join([*epoch_items(end, self._tick, self._words.metric), f"time {self._clock}"]))

    def note(self, text: str) -> None:
        print(text.encode("ascii", "backslashreplace").decode(), file=self._stream, flush=True)
        self._last = self._clock.elapsed()

    def table(self, rows: Sequence[LayerRow], totals: Totals) -> None:
        self._print(layer_table(rows, totals, self._console))

    def close(self, summary: dict[str, Any]) -> None:
        if summary:
            for table in closing_tables(summary, self._words):
                self.note("")
                self._print(table)

    def _print(self, table: Table) -> None:
        with self._console.capture() as capture:
            self._console.print(table)
        for line in capture.get().splitlines():
            self.note(line.rstrip())


def worded_progress(part: str, done: int, total: int) -> str:
    return f"{part}: {done:,} of {total:,} images"


def quantity(value: float, unit: str) -> str:
    """31949, "B" -> "31.2 kB"; 1230000, "MAC" -> "1.2 M MAC". Prefixes start at 1024 B, and at 1000 of other units."""
    size, name = _scale(value, unit)
    return f"{_decimals(value, size)} {name}".rstrip()


def against(value: float, limit: float, unit: str) -> str:
    """31949, 24576, "B" -> "31.2/24.0 kB": a cost and its limit in the unit that suits the limit."""
    size, name = _scale(limit, unit)
    return f"{_decimals(value, size)}/{_decimals(limit, size)} {name}"


def _scale(value: float, unit: str) -> tuple[int, str]:
    base = 1024 if unit == "B" else 1000
    power = sum(abs(value) >= base**exponent for exponent in (1, 2, 3))
    prefix = ("", "k", "M", "G")[power]
    return base**power, prefix + unit if unit == "B" else f"{prefix} {unit}".strip()


def _decimals(value: float, size: int) -> str:
    return f"{value / size:.1f}" if size > 1 else f"{value:.4g}"


def epoch_items(end: EpochEnd, tick: Tick | None, metric: Metric) -> list[str]:
    """What a line says about an epoch. Units and budgets are those of the last tick."""
    items = [f"{end.phase} epoch {end.epoch + 1}/{end.epochs}"]
    for split in SPLITS:
        if f"loss/{split}" in end.scalars:
            items.append(f"{split} loss {end.scalars[f'loss/{split}']:.4f}")
        if metric.of(split) in end.scalars:
            items.append(f"{split} {metric.short} {metric.written(end.scalars[metric.of(split)])}")
    costs = {name.removeprefix("cost/"): value for name, value in end.scalars.items() if name.startswith("cost/")}
    return items + [f"{name} {_cost(name, value, tick)}" for name, value in costs.items()]


def _cost(name: str, value: float, tick: Tick | None) -> str:
    unit = tick.units.get(name, "") if tick else ""
    limit = tick.budgets.get(name) if tick else None
    if limit is None:
        return quantity(value, unit)
    return against(value, limit, unit) + (" OVER" if value > limit else "")


def _wrapped(items: Sequence[str], width: int) -> str:
    """Items side by side. An item is broken over two lines only if it is too long for one line by itself."""
    unbroken = [item.replace(" ", NO_BREAK_SPACE) for item in items]
    return textwrap.fill(ITEM_GAP.join(unbroken), width, subsequent_indent=ITEM_GAP).replace(NO_BREAK_SPACE, " ")


def _headline(tick: Tick, width: int, metric: Metric) -> Text:
    """The phase, how far it is, the loss and the metric."""
    if tick.loss is None:
        items = [f"candidate {tick.step + 1}/{tick.steps}", f"best {metric.name} {metric.written(tick.value)}"]
    else:
        items = [
            f"epoch {tick.epoch + 1}/{tick.epochs}",
            f"step {tick.step + 1}/{tick.steps}",
            f"loss {tick.loss:.4f}",
            f"{metric.name} {metric.written(tick.value)}",
        ]
    text = Text(_wrapped([tick.phase, *items], width))
    text.stylize("bold cyan", 0, len(tick.phase))
    return text


def _gauges(tick: Tick, clock: Clock, width: int) -> Table:
    """A row for the time and one for each cost: name, value, bar, percent."""
    with_bars = width >= BARS_FROM_WIDTH
    grid = Table.grid(padding=(0, 2, 0, 0), expand=with_bars)
    grid.add_column(overflow="fold")
    grid.add_column(justify="right")
    if with_bars:
        grid.add_column(ratio=1)
    grid.add_column()

    def add(name: str, value: str, bar: RenderableType, share: Text | str) -> None:
        grid.add_row(name, value, *([bar] if with_bars else []), share)

    add("run", duration(clock.elapsed()), _bar(tick.run_fraction, "cyan"), f"{duration(clock.left())} left")
    for name, value in tick.costs.items():
        limit = tick.budgets.get(name)
        if limit is None:
            add(name, quantity(value, tick.units[name]), "", "")
            continue
        ratio = value / limit if limit else inf
        colour, verdict = ("red", " OVER") if value > limit else ("green", "")
        add(name, against(value, limit, tick.units[name]), _bar(ratio, colour), Text(f"{ratio:.0%}{verdict}", colour))
    return grid


def _bar(ratio: float, style: str) -> ProgressBar:
    """The bar is full from 1 on. It is empty where the ratio is not a number."""
    return ProgressBar(total=1.0, completed=min(ratio, 1.0), complete_style=style, finished_style=style)
