"""The run on a terminal: a live display on a TTY, a plain line an epoch anywhere else; the same tables at the end.

A kB is 1024 B, as in the data sheets of microcontrollers.
"""

import atexit
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from math import inf
from typing import Any, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from search.monitor.events import Clock, EpochEnd, LayerRow, Monitor, Tick, Totals, duration

REDRAW_SECONDS = 1 / 4  # a redraw takes about 3 ms
BARS_FROM_WIDTH = 60  # columns; a narrower terminal shows numbers only
LAYER_COLUMNS = ("layer", "op", "kept", "bits", "flash B", "MACs", "RAM B")
DROPPED_FIRST = ("op", "MACs", "RAM B")  # columns of the layer table that a narrow terminal does without, in this order
ANY_WIDTH = 1000
LITERAL: Any = {"markup": False, "highlight": False, "emoji": False}  # a name with brackets is shown as it is
SPLITS = ("train", "val")
ITEM_GAP = "  "
NO_BREAK_SPACE = "\u00a0"


def terminal_monitor(stream: TextIO) -> Monitor:
    """The monitor for a stream: live where someone looks at it, plain where it is a file or a pipe."""
    console = Console(file=stream, **LITERAL)
    if stream.isatty() and not console.is_dumb_terminal:
        return LiveMonitor(console)
    return PlainMonitor(stream)


class LiveMonitor:
    """Redraws the state below the log, at most every REDRAW_SECONDS and only from tick(): there is no thread."""

    def __init__(self, console: Console, now: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = Clock(now)
        self._tick: Tick | None = None
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
        self._tick = tick
        self._clock.advance(tick.run_fraction)
        if self._clock.elapsed() < self._next_draw:
            return
        self._live.start()
        self._live.refresh()
        self._next_draw = self._clock.elapsed() + REDRAW_SECONDS

    def epoch(self, end: EpochEnd) -> None:
        self._console.print(_emphasized(_wrapped(epoch_items(end, self._tick), self._console.width)))

    def note(self, text: str) -> None:
        self._console.print(text)

    def table(self, rows: Sequence[LayerRow], totals: Totals) -> None:
        self._live.stop()
        self._console.print(layer_table(rows, totals, self._console))

    def close(self, summary: dict[str, Any]) -> None:
        self._live.stop()
        atexit.unregister(self._live.stop)
        if summary:
            self._console.print()
            self._console.print(summary_table(summary))

    def _view(self) -> RenderableType:
        if self._tick is None:
            return Text()
        width = self._console.width
        return Group(_headline(self._tick, width), _gauges(self._tick, self._clock, width))


class PlainMonitor:
    """Prints ASCII lines without escape codes, each at once: a log that can be followed."""

    def __init__(self, stream: TextIO, now: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._console = Console(width=ANY_WIDTH, force_terminal=False, color_system=None, **LITERAL)
        self._clock = Clock(now)
        self._tick: Tick | None = None

    def tick(self, tick: Tick) -> None:
        self._tick = tick
        self._clock.advance(tick.run_fraction)

    def epoch(self, end: EpochEnd) -> None:
        self.note(ITEM_GAP.join([*epoch_items(end, self._tick), f"time {self._clock}"]))

    def note(self, text: str) -> None:
        print(text.encode("ascii", "backslashreplace").decode(), file=self._stream, flush=True)

    def table(self, rows: Sequence[LayerRow], totals: Totals) -> None:
        self._print(layer_table(rows, totals, self._console))

    def close(self, summary: dict[str, Any]) -> None:
        if summary:
            self.note("")
            self._print(summary_table(summary))

    def _print(self, table: Table) -> None:
        with self._console.capture() as capture:
            self._console.print(table)
        for line in capture.get().splitlines():
            self.note(line.rstrip())


def quantity(value: float, unit: str) -> str:
    """31949, "B" -> "31.2 kB"; 1230000, "MAC" -> "1.2 M MAC"; a prefix only from 1024 B or 1000 of anything else."""
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


def epoch_items(end: EpochEnd, tick: Tick | None) -> list[str]:
    """What a line says about an epoch; units and budgets are those of the last tick."""
    items = [f"{end.phase} epoch {end.epoch + 1}/{end.epochs}"]
    for split in SPLITS:
        if f"loss/{split}" in end.scalars:
            items.append(f"{split} loss {end.scalars[f'loss/{split}']:.4f}")
        if f"accuracy/{split}" in end.scalars:
            items.append(f"{split} acc {end.scalars[f'accuracy/{split}']:.2%}")
    costs = {name.removeprefix("cost/"): value for name, value in end.scalars.items() if name.startswith("cost/")}
    return items + [f"{name} {_cost(name, value, tick)}" for name, value in costs.items()]


def _cost(name: str, value: float, tick: Tick | None) -> str:
    unit = tick.units.get(name, "") if tick else ""
    limit = tick.budgets.get(name) if tick else None
    if limit is None:
        return quantity(value, unit)
    return against(value, limit, unit) + (" OVER" if value > limit else "")


def _emphasized(text: str) -> Text:
    """A broken budget in red. The word says it too, for those without colours."""
    line = Text(text)
    line.highlight_words(["OVER"], "bold red")
    return line


def _wrapped(items: Sequence[str], width: int) -> str:
    """Items side by side; one is never broken over two lines unless it alone is too long for one."""
    unbroken = [item.replace(" ", NO_BREAK_SPACE) for item in items]
    return textwrap.fill(ITEM_GAP.join(unbroken), width, subsequent_indent=ITEM_GAP).replace(NO_BREAK_SPACE, " ")


def _headline(tick: Tick, width: int) -> Text:
    """Phase, how far it is, loss and accuracy."""
    if tick.loss is None:
        items = [f"candidate {tick.step + 1}/{tick.steps}", f"best accuracy {tick.accuracy:.2%}"]
    else:
        items = [
            f"epoch {tick.epoch + 1}/{tick.epochs}",
            f"step {tick.step + 1}/{tick.steps}",
            f"loss {tick.loss:.4f}",
            f"accuracy {tick.accuracy:.2%}",
        ]
    text = Text(_wrapped([tick.phase, *items], width))
    text.stylize("bold cyan", 0, len(tick.phase))
    return text


def _gauges(tick: Tick, clock: Clock, width: int) -> Table:
    """A row for the time and one a cost: name, value, bar, percent."""
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
    """Full from 1 on; empty where the ratio is not a number, for rich draws that as 0."""
    return ProgressBar(total=1.0, completed=min(ratio, 1.0), complete_style=style, finished_style=style)


def layer_table(rows: Sequence[LayerRow], totals: Totals, console: Console) -> Table:
    """The decided network, a layer a row, as many columns as the console is wide enough for."""
    cells = [dict(zip(LAYER_COLUMNS, _layer_cells(row), strict=True)) for row in rows]
    kept, channels = sum(row.kept for row in rows), sum(row.channels for row in rows)
    sums = (f"{totals.flash_bytes:,}", f"{totals.macs:,}", f"{totals.peak_ram_bytes:,}")
    total = dict(zip(LAYER_COLUMNS, ("total", "", f"{kept}/{channels}", "", *sums), strict=True))
    caption = f"8:12 is 12 channels with 8 bits. RAM peaks at {totals.peak_ram_layer}."
    for dropped in range(len(DROPPED_FIRST) + 1):
        names = [name for name in LAYER_COLUMNS if name not in DROPPED_FIRST[:dropped]]
        table = _table(names, cells, total, caption)
        if console.measure(table, options=console.options.update(width=ANY_WIDTH)).maximum <= console.width:
            break
    return table


def _layer_cells(row: LayerRow) -> tuple[str, ...]:
    bits = " ".join(f"{width}:{row.bits[width]}" for width in sorted(row.bits, reverse=True) if width > 0)
    kept = f"{row.kept}/{row.channels}"
    return row.name, row.op, kept, bits, f"{row.flash_bytes:,}", f"{row.macs:,}", f"{row.ram_bytes:,}"


def _table(names: Sequence[str], cells: Sequence[dict[str, str]], total: dict[str, str], caption: str) -> Table:
    table = Table(box=None, pad_edge=False, caption=caption, caption_justify="left", header_style="bold")
    for name in names:
        is_text = name in ("layer", "op", "bits")
        table.add_column(name, justify="left" if is_text else "right", overflow="fold", no_wrap=not is_text)
    for row in cells:
        table.add_row(*(row[name] for name in names))
    table.add_row(*(total[name] for name in names), style="bold")
    return table


def summary_table(summary: dict[str, Any]) -> Table:
    """What `summary.json` says, two columns; what it lacks is left out."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="bold", overflow="fold")
    grid.add_column(overflow="fold")
    for label, value in _summary_rows(summary):
        grid.add_row(label, _emphasized(value))
    return grid


def _summary_rows(summary: dict[str, Any]) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = [
        (key, str(summary[key])) for key in ("experiment", "seed", "architecture") if key in summary
    ]
    for kind, splits in summary.get("accuracy", {}).items():
        rows.append((f"accuracy, {kind}", ", ".join(f"{split} {value:.2%}" for split, value in splits.items())))
    budgets = summary.get("budgets", {})
    for name, cost in summary.get("costs", {}).items():
        rows.append((name, _promise(cost, budgets.get(name))))
    for point in summary.get("points", []):
        rows.append((point["point"], _point(point)))
    if "front" in summary:
        front = summary["front"]
        rows.append(("front", f"bends at {front['knee']}; hypervolume {front['hypervolume']['test']:.3f} on test"))
    if "mismatches" in summary:
        rows.append(("mismatches", _mismatches(summary["mismatches"])))
    if "seconds" in summary:
        rows.append(("seconds", ", ".join(f"{phase} {value:.1f}" for phase, value in summary["seconds"].items())))
    if "folder" in summary:
        rows.append(("run folder", str(summary["folder"])))
    return rows


def _point(point: dict[str, Any]) -> str:
    """A point of a front in a line."""
    accuracies = ", ".join(f"{split} {value:.2%}" for split, value in point["accuracy"]["integer"].items())
    costs = ", ".join(f"{cost['found']:,.12g} {cost['unit']}" for cost in point["costs"].values())
    return f"{accuracies}; {costs}; {'met' if all(b['met'] for b in point['budgets'].values()) else 'OVER'}"


def _promise(cost: dict[str, Any], budget: dict[str, Any] | None) -> str:
    text = f"{cost['found']:,.12g} {cost['unit']}, was {cost['seed_network']:,.12g}"
    if budget is None:
        return text
    return f"{text}, limit {budget['limit']:,.12g}: {'met' if budget['met'] else 'OVER'}"


def _mismatches(counts: dict[str, int]) -> str:
    compared = ("tensors_compared", "elements_compared")
    backends = ", ".join(f"{name} {count:,}" for name, count in counts.items() if name not in compared)
    tensors, elements = (counts.get(name, 0) for name in compared)
    return f"{backends} of {elements:,} elements in {tensors:,} tensors"
