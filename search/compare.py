"""`picojoule compare RUN RUN [...]`: runs side by side in the terminal, as plain text.

What differs stands first, in a table for each kind of figure; what is the same in all networks stands once, at the end.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from search.errors import UsageError
from search.monitor.failures import ending, pipe_may_close
from search.monitor.tables import LITERAL
from search.monitor.words import COSTS, Metric
from search.report.document import document
from search.report.runs import RunRecord, read_run
from search.report.settings import ABSENT, differing, written
from search.report.verdicts import amount

NONE = "-"
KINDS, SPLITS = ("integer", "decided", "float"), ("test", "val")
ALIKE = "the same in all networks"
WIDTH = 10_000  # columns: nothing is cut off
NOT_SETTINGS = ("folder",)  # in which runs differ by themselves

Row = tuple[str, ...]  # a name, and a cell for every column


@dataclass(frozen=True)
class Column:
    """A network of a run. A run with a front has one for each of its points."""

    name: str
    run: RunRecord
    point: dict[str, Any]


def compare(folders: Sequence[Path]) -> tuple[list[Table], list[str]]:
    """The tables, and what could not be read.

    Raises:
        RunFolderError: a folder is no run folder.
        UsageError: no network has been exported yet, none can be read, or the runs are of several tasks.
    """
    runs = [read_run(folder) for folder in folders]
    shown = document(runs)
    short = _short([run.folder for run in runs])
    columns = [_column(runs[p["run"]], short[p["run"]], p) for p in shown["points"] if p["exported"]]
    if not columns:
        raise UsageError(" ".join(["no network to compare.", *shown["faults"], *map(_alone, runs)]))
    names, metric = [column.name for column in columns], Metric(**shown["metric"])
    kinds = {
        metric.name: _scores(columns, metric),
        "cost / budget": _costs(columns, shown["units"]),
        "channels kept of the seed network's, channels by bits": _layers(columns),
    }
    alike = [row[:2] for rows in kinds.values() for row in rows if _is_alike(row)]
    tables = [
        _table("settings that differ", short, _settings(runs)),
        *(_table(title, names, [row for row in rows if not _is_alike(row)]) for title, rows in kinds.items()),
        _table(ALIKE, [""], alike),
    ]
    compared = {id(column.run) for column in columns}
    alone = [_alone(run) for run in runs if id(run) not in compared]
    return [table for table in tables if table.row_count], [*shown["faults"], *alone]


def _is_alike(row: Row) -> bool:
    """Whether all of several networks have the same there."""
    return len(row) > 2 and len(set(row[1:])) == 1


def _alone(run: RunRecord) -> str:
    why = "no network of it can be read" if run.finished else "unfinished (resume it)"
    return f"{run.folder}: {why}, so that its settings alone compare."


def _short(folders: Sequence[Path]) -> list[str]:
    """The folders without the part that all of them begin with. A single folder is called by its name."""
    paths = [folder.resolve() for folder in folders]
    parents = [path.parent for path in paths]
    return [str(path.relative_to(os.path.commonpath(parents))) for path in paths]


def _column(run: RunRecord, folder: str, point: dict[str, Any]) -> Column:
    return Column("/".join(filter(None, (folder, point["name"]))), run, point)


def _settings(runs: Sequence[RunRecord]) -> list[Row]:
    """Settings that differ; null and a key that another version or group lacks are alike."""
    rows = differing([run.settings for run in runs])
    several = {key: [ABSENT if value is None else value for value in values] for key, values in rows.items()}
    return [
        (key, *map(written, values))
        for key, values in several.items()
        if key not in NOT_SETTINGS and any(value != values[0] for value in values)
    ]


def _scores(columns: Sequence[Column], metric: Metric) -> list[Row]:
    def cell(column: Column, kind: str, split: str) -> str:
        value = column.point["scores"].get(kind, {}).get(split)
        return NONE if value is None else metric.written(value)

    rows = [(f"{kind}, {split}", *(cell(c, kind, split) for c in columns)) for kind in KINDS for split in SPLITS]
    rows.append(("caution", *(column.point["details"]["caution"] or NONE for column in columns)))
    rows.append(("WARNING", *(_warnings(column) for column in columns)))
    return [row for row in rows if set(row[1:]) != {NONE}]


def _warnings(column: Column) -> str:
    """Names of the warnings of a network; its report.html says what they mean."""
    return ", ".join(dict.fromkeys(warning["name"] for warning in column.point["warnings"])) or NONE


def _costs(columns: Sequence[Column], units: dict[str, str]) -> list[Row]:
    def cell(column: Column, name: str) -> str:
        cost, promise = column.point["costs"].get(name), column.point["promises"].get(name)
        if cost is None:
            return NONE
        if promise is None:
            return amount(cost["found"])
        kept = "met" if promise["met"] else f"OVER by {amount(-promise['left'])}"
        return f"{amount(cost['found'])} / {amount(promise['limit'])} {kept}"

    return [
        (f"{COSTS.get(name, name)}, {unit}", *(cell(column, name) for column in columns))
        for name, unit in units.items()
    ]


def _layers(columns: Sequence[Column]) -> list[Row]:
    """Layers with weights: those of the first network in their order, then those that only the others have."""
    layers = [{layer["name"]: layer for layer in c.point["layers"] if layer["bits"]} for c in columns]
    names = dict.fromkeys(name for each in layers for name in each)
    return [(name, *(_layer(each.get(name)) for each in layers)) for name in names]


def _layer(layer: dict[str, Any] | None) -> str:
    if layer is None:
        return NONE
    seed = NONE if layer["channels"] is None else layer["channels"]
    bits = " ".join(f"{width}:{layer['bits'][width]}" for width in sorted(layer["bits"], reverse=True))
    return f"{layer['kept']}/{seed}  {bits}"


def _table(title: str, names: Sequence[str], rows: Sequence[Row]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 3, 0, 0))
    for head in (title, *names):
        table.add_column(Text(head), no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def show(tables: Sequence[Table], stream: TextIO) -> None:
    """Each row is one line, whatever its width. Heads are bold on a terminal, and plain text elsewhere."""
    console = Console(file=stream, width=WIDTH, **LITERAL)
    for number, table in enumerate(tables):
        with console.capture() as capture:
            console.print(table)
        lines = [line.rstrip() for line in capture.get().splitlines()]
        print("\n".join(["", *lines] if number else lines), file=stream)


def main(arguments: Sequence[str] | None = None) -> None:
    """Args: arguments: None takes those of the process."""
    parser = argparse.ArgumentParser(
        prog="picojoule compare", description="Settings, accuracies, costs and layers of runs side by side."
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a run, runs/NAME/TIME")
    given = parser.parse_args(arguments)
    with ending():
        tables, faults = compare(given.runs)
    for fault in faults:
        print(f"picojoule: {fault}", file=sys.stderr)
    with pipe_may_close():
        show(tables, sys.stdout)


if __name__ == "__main__":
    main()
