"""A table of measurements over time, a CSV file: windows of its columns, and what is to be learned of each window."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from search.data.assemble import assemble
from search.data.data import LABELS, NUMBERS, Data, DataError, Split
from search.integer.preprocessing import FIRST

REFUSE, INTERPOLATE = "refuse", "interpolate"
HOLES = ("", "nan", "na", "n/a", "null", "none", "?")  # what stands where nothing was measured
DELIMITERS = (",", ";", "\t")


@dataclass
class CsvOptions:
    """Which file, and how to read it. Its first row names the columns; rows are in the order of time.

    Attributes:
        target: the column that is to be learned. Words and whole numbers are classes, other numbers are estimated.
        channels: the columns that are measured; None: all others.
        group: a column that says who or what each row comes from. No window holds two of them, and splits are carved
            out in whole groups.
        window: rows of an example; stride: rows from one window to the next, None: half a window.
        targets: "labels" or "numbers"; None: as the column says.
        holes: "refuse", or "interpolate": what was not measured is taken from the rows around it, of the same group.
        mean, std: by which examples are normalised, see search.data.assemble.
    """

    file: str
    target: str
    name: str = "csv"
    channels: list[str] | None = None
    group: str | None = None
    window: int = 128
    stride: int | None = None
    targets: str | None = None
    holes: str = REFUSE
    mean: list[float] | None = None
    std: list[float] | None = None


@dataclass(frozen=True)
class _Table:
    """What a file holds.

    Attributes:
        channels: (C, rows) float64.
        targets: (rows,), labels or numbers; kind: which of both; names: of the classes, or of the number.
        groups: (rows,), int64, of each row; None: there are none.
        stretches: (first, last + 1) of rows that follow one another and are of one group.
    """

    channels: np.ndarray
    targets: np.ndarray
    kind: str
    names: tuple[str, ...]
    groups: np.ndarray | None
    stretches: Sequence[tuple[int, int]]

    def windows(self, length: int, step: int) -> list[int]:
        """Their first rows; none reaches from one stretch into the next."""
        return [row for low, high in self.stretches for row in range(low, high - length + 1, step)]

    def is_of_one_label(self, first: int, length: int) -> bool:
        return self.kind != LABELS or bool((self.targets[first : first + length] == self.targets[first]).all())

    def split(self, places: Sequence[int], length: int) -> Split:
        """The windows that begin at these rows."""
        images = np.stack([self.channels[:, row : row + length] for row in places]).astype(np.float32)
        if self.kind == LABELS:
            return Split(torch.from_numpy(images), torch.tensor([int(self.targets[row]) for row in places]))
        means = [[float(self.targets[row : row + length].mean())] for row in places]
        return Split(torch.from_numpy(images), torch.tensor(means))


def load_csv(options: CsvOptions) -> Data:
    """Loads windows (N, channels, window), float32. The target of a window is its label, or a mean of numbers.

    Windows with rows of several labels are left out, and a note counts them.

    Raises:
        DataError: the file or what it holds cannot be used.
    """
    _refuse_other_values(options)
    path = Path(options.file).expanduser()
    table, length = _table(path, options), options.window
    every = table.windows(length, options.stride or max(1, length // 2))
    places = [row for row in every if table.is_of_one_label(row, length)]
    if not places:
        longest = max(high - low for low, high in table.stretches)
        raise DataError(
            f"{path}: none of {len(every)} windows of {length} rows lies in one group and has one label; the longest "
            f"group has {longest} rows. Lower data.window."
        )
    data = assemble(
        options.name,
        f"data '{options.name}' in {path}",
        {"train": table.split(places, length)},
        table.names,
        targets=table.kind,
        groups=None if table.groups is None else {"train": torch.from_numpy(table.groups[places])},
        channels=FIRST,
        mean=options.mean,
        std=options.std,
    )
    lost = len(every) - len(places)
    note = f"{path}: {lost} of {len(every)} windows hold rows of several labels and are left out"
    return replace(data, notes=(*data.notes, note)) if lost else data


def _table(path: Path, options: CsvOptions) -> _Table:
    names, columns = _rows(path)
    by_name = dict(zip(names, columns, strict=True))
    channels = _columns(path, names, options)
    groups = by_name[options.group] if options.group else None
    stretches = _stretches(groups, len(columns[0]))
    measured = [_numbers(path, name, by_name[name], stretches, options.holes) for name in channels]
    kind = options.targets or _kind_of(by_name[options.target])
    classes, targets = _targets(path, options.target, by_name[options.target], kind)
    numbers = None if groups is None else np.unique(np.array(groups), return_inverse=True)[1]
    return _Table(np.stack(measured), targets, kind, classes, numbers, stretches)


def _refuse_other_values(options: CsvOptions) -> None:
    for name, least in (("window", 2), ("stride", 1)):
        value = getattr(options, name)
        if value is not None and value < least:
            raise DataError(f"data.{name} is {value}; allowed: {least} or more.")
    if options.holes not in (REFUSE, INTERPOLATE):
        raise DataError(f"data.holes is '{options.holes}'; allowed: '{REFUSE}' or '{INTERPOLATE}'.")
    if options.targets not in (None, LABELS, NUMBERS):
        raise DataError(f"data.targets is '{options.targets}'; allowed: '{LABELS}', '{NUMBERS}' or null.")


def _rows(path: Path) -> tuple[list[str], list[list[str]]]:
    """The names of the columns, and each column."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error}); expected a CSV file in UTF-8. Check data.file.") from error
    first = text.partition("\n")[0]
    delimiter = max(DELIMITERS, key=first.count)
    lines = [line for line in csv.reader(text.splitlines(), delimiter=delimiter) if line]
    if len(lines) < 2:
        raise DataError(
            f"{path}: {len(lines)} rows; a row with the names of the columns and rows of values are needed."
        )
    names = [name.strip() for name in lines[0]]
    if len(set(names)) < len(names):
        raise DataError(f"{path}: columns {names} do not have different names. Rename them.")
    for number, line in enumerate(lines[1:], 2):
        if len(line) != len(names):
            raise DataError(
                f"{path}: row {number} has {len(line)} values, and there are {len(names)} columns. Mend the row."
            )
    return names, [[line[place].strip() for line in lines[1:]] for place in range(len(names))]


def _columns(path: Path, names: Sequence[str], options: CsvOptions) -> list[str]:
    """The channels."""
    asked = [options.target, *([options.group] if options.group else []), *(options.channels or [])]
    unknown = [name for name in asked if name not in names]
    if unknown:
        raise DataError(
            f"{path}: there is no column {unknown}; there are {list(names)}. Correct data.target, data.group or "
            "data.channels."
        )
    found = options.channels or [name for name in names if name not in (options.target, options.group)]
    if options.target in found or not found:
        raise DataError(
            f"{path}: channels {found} found; at least one, and not the target '{options.target}'. Name others."
        )
    return list(found)


def _stretches(groups: Sequence[str] | None, count: int) -> list[tuple[int, int]]:
    """(first, last + 1) of rows that follow one another and are of one group."""
    if groups is None:
        return [(0, count)]
    cuts = [0, *(row for row in range(1, count) if groups[row] != groups[row - 1]), count]
    return list(pairwise(cuts))


def _numbers(
    path: Path, name: str, column: Sequence[str], stretches: Sequence[tuple[int, int]], holes: str
) -> np.ndarray:
    """(rows,) float64."""
    values = np.empty(len(column))
    for row, text in enumerate(column):
        if text.lower() in HOLES:
            values[row] = np.nan
            continue
        try:
            values[row] = float(text)
        except ValueError as error:
            raise DataError(
                f"{path}: column '{name}', row {row + 2} holds '{text}', which is no number. Mend it, or name the "
                "columns that are measured in data.channels."
            ) from error
    bad = ~np.isfinite(values)
    if bad.any() and holes == REFUSE:
        raise DataError(
            f"{path}: column '{name}' has nothing at row {int(bad.argmax()) + 2} ({int(bad.sum())} such rows). Mend "
            f"them, or set data.holes={INTERPOLATE}."
        )
    for low, high in stretches if bad.any() else ():
        known = np.flatnonzero(~bad[low:high])
        if not len(known):
            raise DataError(f"{path}: column '{name}' has nothing in rows {low + 2} to {high + 1}. Leave these out.")
        values[low:high] = np.interp(np.arange(high - low), known, values[low:high][known])
    return values


def _kind_of(column: Sequence[str]) -> str:
    """Labels where all are words or whole numbers, else numbers."""
    try:
        return LABELS if all(float(text).is_integer() and "." not in text for text in column) else NUMBERS
    except ValueError:
        return LABELS


def _targets(path: Path, name: str, column: Sequence[str], kind: str) -> tuple[tuple[str, ...], np.ndarray]:
    """The names of what is learned, and (rows,) labels or numbers. Holes are refused: nothing is learned of a guess."""
    empty = [row for row, text in enumerate(column) if text.lower() in HOLES]
    if empty:
        raise DataError(
            f"{path}: column '{name}' has nothing at row {empty[0] + 2} ({len(empty)} such rows); a target has to be "
            "there. Leave these rows out."
        )
    if kind == NUMBERS:
        return (name,), _numbers(path, name, column, [(0, len(column))], REFUSE)
    names = sorted(set(column), key=lambda text: (not _is_number(text), float(text) if _is_number(text) else 0.0, text))
    places = {text: place for place, text in enumerate(names)}
    return tuple(names), np.array([places[text] for text in column])


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
