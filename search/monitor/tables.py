"""The tables that a run ends with: its layers, the figures of its task, its warnings, and its summary."""

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from search.monitor.events import LayerRow, Totals
from search.monitor.warned import Warned, warned
from search.monitor.words import STAGES, Details, Metric, Words

LAYER_COLUMNS = ("layer", "op", "kept", "bits", "flash B", "MACs", "RAM B")
DROPPED_FIRST = ("op", "MACs", "RAM B")  # columns of the layer table that a narrow terminal does without, in this order
ANY_WIDTH = 1000
LITERAL: Any = {"markup": False, "highlight": False, "emoji": False}  # a name with brackets is shown as it is
MOST_ROWS = 10  # of the task's table


def emphasized(text: str) -> Text:
    """A broken budget and a warning in red. The words say it as well, for terminals without colours."""
    line = Text(text)
    line.highlight_words(["OVER", "WARNING"], "bold red")
    return line


def layer_table(rows: Sequence[LayerRow], totals: Totals, console: Console) -> Table:
    """The decided network, with a row for each layer and as many columns as the console has room for."""
    cells = [dict(zip(LAYER_COLUMNS, _layer_cells(row), strict=True)) for row in rows]
    kept, channels = sum(row.kept for row in rows), sum(row.channels for row in rows)
    sums = (f"{totals.flash_bytes:,}", f"{totals.macs:,}", f"{totals.peak_ram_bytes:,}")
    total = dict(zip(LAYER_COLUMNS, ("total", "", f"{kept}/{channels}", "", *sums), strict=True))
    caption = f"8:12 is 12 channels with 8 bits. RAM peaks at {totals.peak_ram_layer}."
    for dropped in range(len(DROPPED_FIRST) + 1):
        names = [name for name in LAYER_COLUMNS if name not in DROPPED_FIRST[:dropped]]
        table = _layers(names, cells, total, caption)
        if console.measure(table, options=console.options.update(width=ANY_WIDTH)).maximum <= console.width:
            break
    return table


def _layer_cells(row: LayerRow) -> tuple[str, ...]:
    bits = " ".join(f"{width}:{row.bits[width]}" for width in sorted(row.bits, reverse=True) if width > 0)
    kept = f"{row.kept}/{row.channels}"
    return row.name, row.op, kept, bits, f"{row.flash_bytes:,}", f"{row.macs:,}", f"{row.ram_bytes:,}"


def _layers(names: Sequence[str], cells: Sequence[dict[str, str]], total: dict[str, str], caption: str) -> Table:
    table = Table(box=None, pad_edge=False, caption=caption, caption_justify="left", header_style="bold")
    for name in names:
        is_text = name in ("layer", "op", "bits")
        table.add_column(name, justify="left" if is_text else "right", overflow="fold", no_wrap=not is_text)
    for row in cells:
        table.add_row(*(row[name] for name in names))
    table.add_row(*(total[name] for name in names), style="bold")
    return table


def closing_tables(summary: dict[str, Any], words: Words) -> Iterator[Table]:
    """The table of the task, where the run found one network, the warnings, and at last what `summary.json` says."""
    details = words.details(summary, MOST_ROWS)
    if details.rows:
        yield details_table(details)
    points = summary.get("points", [])
    names = [str(point["point"]) for point in points]
    for warning in warned(points or [summary]):
        own = [names[number] for number in warning.of] if len(warning.of) < len(points) else []
        yield warning_table(warning, own)
    yield summary_table(summary, words, details)


def warning_table(warning: Warned, points: Sequence[str]) -> Table:
    """Two columns, as in the summary. Args: points: of a front, that have this warning; none where all have it."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="bold", overflow="fold")
    grid.add_column(overflow="fold")
    of = f" at {', '.join(points)}" if points else ""
    grid.add_row(emphasized("WARNING"), f"{warning.name}{of}")
    for head, said in (("seen", warning.seen), ("likely cause", warning.cause), ("set", warning.advice)):
        grid.add_row(head, said)
    return grid


def summary_table(summary: dict[str, Any], words: Words, details: Details) -> Table:
    """Two columns: a name and what the summary says of it. What the summary lacks is left out."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="bold", overflow="fold")
    grid.add_column(overflow="fold")
    for label, value in _summary_rows(summary, words, details):
        grid.add_row(label, emphasized(value))
    return grid


def details_table(details: Details) -> Table:
    """The task's table, with its title above."""
    table = Table(
        box=None, pad_edge=False, title=details.title, title_justify="left", title_style="bold", header_style="bold"
    )
    for name, is_text in zip(details.head, details.is_text, strict=True):
        table.add_column(name, justify="left" if is_text else "right", overflow="fold", no_wrap=not is_text)
    for row in details.rows:
        table.add_row(*row)
    return table


def _summary_rows(summary: dict[str, Any], words: Words, details: Details) -> list[tuple[str, str]]:
    metric = words.metric
    rows: list[tuple[str, str]] = [
        (key, str(summary[key])) for key in ("experiment", "seed", "architecture") if key in summary
    ]
    for kind, splits in summary.get(metric.name, {}).items():
        rows.append((f"{metric.name}, {kind}", _by_split(splits, metric)))
    if "below_float" in summary:
        rows.append(("below float", _below(summary["below_float"], metric)))
    if "stages" in summary:
        rows.append(("on the way", _stages(summary["stages"], metric)))
    rows += details.facts.items()
    budgets = summary.get("budgets", {})
    for name, cost in summary.get("costs", {}).items():
        rows.append((name, _promise(cost, budgets.get(name))))
    for point in summary.get("points", []):
        rows.append((point["point"], _point(point, words)))
    if "front" in summary:
        front = summary["front"]
        rows.append(("front", f"bends at {front['knee']}; hypervolume {front['hypervolume']['test']:.3f} on test"))
    if "mismatches" in summary:
        rows.append(("mismatches", _mismatches(summary["mismatches"])))
    if "seconds" in summary:
        rows.append(("seconds", ", ".join(f"{phase} {value:.1f}" for phase, value in summary["seconds"].items())))
    if "folder" in summary:
        rows.append(("run folder", str(summary["folder"])))
    if names := _warning_names(summary):
        rows.append(("WARNING", f"{', '.join(names)}: see above"))
    return rows


def _warning_names(summary: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(warning.name for warning in warned(summary.get("points") or [summary])))


def _below(splits: dict[str, float], metric: Metric) -> str:
    return ", ".join(f"{split} {metric.difference(value)}" for split, value in splits.items())


def _stages(stages: dict[str, float], metric: Metric) -> str:
    """What was measured on validation data, from the float network to the integers."""
    return ", ".join(f"{STAGES.get(name, name)} {metric.written(value)}" for name, value in stages.items())


def _point(point: dict[str, Any], words: Words) -> str:
    """A point of a front in one line."""
    values, caution = _by_split(point[words.metric.name]["integer"], words.metric), words.details(point, 0).caution
    costs = ", ".join(f"{cost['found']:,.12g} {cost['unit']}" for cost in point["costs"].values())
    kept = "met" if all(b["met"] for b in point["budgets"].values()) else "OVER"
    warned_of = "WARNING" if point.get("warnings") else ""
    return "; ".join(filter(None, (values, caution, costs, kept, warned_of)))


def _by_split(splits: dict[str, float], metric: Metric) -> str:
    return ", ".join(f"{split} {metric.written(value)}" for split, value in splits.items())


def _promise(cost: dict[str, Any], budget: dict[str, Any] | None) -> str:
    foretold = f" linked, {cost['foretold']:,.12g} foretold" if "foretold" in cost else ""
    text = f"{cost['found']:,.12g} {cost['unit']}{foretold}, was {cost['seed_network']:,.12g}"
    if budget is None:
        return text
    return f"{text}, limit {budget['limit']:,.12g}: {'met' if budget['met'] else 'OVER'}"


def _mismatches(counts: dict[str, int]) -> str:
    compared = ("tensors_compared", "elements_compared")
    backends = ", ".join(f"{name} {count:,}" for name, count in counts.items() if name not in compared)
    tensors, elements = (counts.get(name, 0) for name in compared)
    return f"{backends} of {elements:,} elements in {tensors:,} tensors"
