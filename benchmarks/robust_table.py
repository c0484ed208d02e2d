"""Strategies in Markdown, from the lines of `python -m benchmarks.robust`."""

from collections.abc import Sequence

from benchmarks.lines import Line
from benchmarks.robust_verdicts import CELL, STRATEGIES

HEAD = """# Strategies where nobody tuned them

`{command}` measures what stands here. `--table FILE.md` writes the tables and,
beside them, their lines: a JSON object for each run, with its settings, and one for each sum.

**A cell** is a network on a data set with a batch size, a schedule and a budget. Its strategies share one float network
for each seed, and each takes the same total epochs. A strategy that searches does so for 1 of 4.5 parts of them, and
fine-tunes what it decided for 2. Those that do not search fine-tune longer. The budget is a part of the flash that the
network takes at 8 bits. "Steps" are those of the search; decisions move in some of them.

**Accuracy** is the test accuracy of the exported integers in percent, the mean over seeds. **Bold** are collapses: more
than 5 points under the best fixed of the cell, or validation accuracy near that of a guess.

**Gradient** runs with its default settings. Each rival has the best of three learning rates (1/3, 1 and 3 times the
default), which was chosen on validation data with seed 0 and kept for the other seeds. **Fixed** is one precision and
one width for all layers; 8, 4 and 2 bits are a run of all epochs each, at the widest that fits, and the best of them on
validation data counts. **Magnitude** keeps 4 bits. **Random** draws for as many epochs as the gradient searches, but at
most 200 times.

**"Ahead"** is the gradient's accuracy minus that of the best rival, in points. The best rival is the one with the
highest test accuracy in the cell, which favours rivals: nobody who has no test data could choose so. Behind it stand
two standard errors: those over seeds, and that of a share of so many test images. Seeds are few, so it is rough.

**"Used"** is the share of the budget that the gradient's networks fill: of flash, or of RAM where that is fuller.
"""


def table(lines: Sequence[Line], command: str, planned: int) -> str:
    """Sums first, then a row for each cell. Args: planned: how many cells the command measures."""
    sums = [line for line in lines if "seed" not in line]
    cells = [line for line in sums if "strategies" in line]
    return HEAD.format(command=command) + _summary(sums, cells, planned) + _cells(cells)


def _summary(sums: Sequence[Line], cells: Sequence[Line], planned: int) -> str:
    whole = next(line for line in sums if "tight_cells" in line)
    seeds = sorted({cell["seeds"] for cell in cells})
    missing = planned - whole["cells"]
    text = f"\n## {'All' if not missing else 'Measured'} cells: {whole['cells']}\n\n"
    text += f"{missing} more are still to be measured. " if missing else ""
    text += f"Seeds of a cell: {' or '.join(map(str, seeds))}. "
    text += f"Gradient is ahead of the best rival by more than the noise in {whole['ahead']} cells, and behind it by "
    text += f"more than the noise in {whole['behind']}; the mean is {_points(whole['ahead_mean'])} points. "
    text += f"With 1/16 of the flash or less ({whole['tight_cells']} cells) it is ahead of the best fixed by "
    text += f"{_points(whole['ahead_of_fixed_tight']) or 'no'} points on average.\n\n"
    heads = ("strategy", "collapses", "mean accuracy", "budget used: mean", "least", "runs that use 95%")
    text += _row(heads) + _rule(heads)
    for line in (line for line in sums if "collapses" in line):
        collapses = f"{line['collapses']} of {line['cells']}"
        used = [_percent(line["used_mean"]), _percent(line["used_least"]), f"{line['used_95']} of {line['runs']}"]
        text += _row([line["strategy"], collapses, _percent(line["test"]), *used])
    return text


def _cells(cells: Sequence[Line]) -> str:
    heads = ("network", "data", "batch", "steps", "flash", "float", *STRATEGIES, "ahead", "of", "used")
    text = f"\n## Each cell\n\n{_row(heads)}{_rule(heads)}"
    for cell in sorted(cells, key=lambda cell: [str(cell[name]) for name in CELL]):
        flash = f"1/{cell['flash_part']}, {cell['budget']:,} B"
        flash += f", RAM {cell['budget_ram']:,} B" if cell["budget_ram"] else ""
        found = [_found(cell["strategies"].get(strategy)) for strategy in STRATEGIES]
        ahead = f"{_points(cell['ahead'])} ± {100 * cell['noise']:.1f}" if "ahead" in cell else ""
        shares = cell["strategies"].get("gradient", {}).get("used", [])
        used = " ".join(map(_percent, shares))
        own = [cell["network"], cell["data"], f"{cell['batch']}", f"{cell['steps']}", flash, _percent(cell["float"])]
        text += _row([*own, *found, ahead, cell.get("best_rival", ""), used])
    return text


def _found(strategy: Line | None) -> str:
    if strategy is None:
        return ""
    text = _percent(strategy["test"])
    return f"**{text}**" if strategy["collapsed"] else text


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"


def _points(difference: float | None) -> str:
    return "" if difference is None else f"{100 * difference:+.1f}"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


def _rule(heads: Sequence[str]) -> str:
    return f"{'|---' * len(heads)}|\n"
