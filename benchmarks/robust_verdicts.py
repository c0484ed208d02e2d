"""What the runs of a cell say: which of a rival's runs count, who collapsed, and who leads by how much."""

import math
from collections.abc import Iterator, Sequence
from statistics import mean, variance

from benchmarks.lines import Line

CELL = ("network", "data", "batch", "schedule", "budgets")
FIXED = "fixed"
STRATEGIES = ("gradient", "sensitivity", FIXED, "magnitude", "random")
COLLAPSE = 0.05  # below the best fixed
ABOVE_CHANCE = 1.5  # validation accuracy below so many times that of a guess is that of a guess
FULL = 0.95  # of a budget that is used
TIGHT = 16  # the budget is this part of the flash at 8 bits, or a smaller one


def on_test(line: Line) -> float:
    """Accuracy of the integers. A run whose loss was not finite has no network, and so 0."""
    return 0.0 if line["integer"] is None else float(line["integer"]["test"])


def on_val(line: Line) -> float:
    return 0.0 if line["integer"] is None else float(line["integer"]["val"])


def best_rate(lines: Sequence[Line]) -> str | None:
    """Of a strategy's runs in a cell the learning rate that is best on validation data with seed 0. None: no run.

    Of rates that are equally good the default one is taken, and else the lower one.
    """
    first = [line for line in lines if line["seed"] == 0]
    best = max(first, key=lambda line: (on_val(line), line["rate"] == "1", -line["lr"]), default=None)
    return None if best is None else str(best["rate"])


def counted(lines: Sequence[Line]) -> dict[str, list[Line]]:
    """Strategy -> the runs of a cell that count, one a seed.

    Of each seed, "fixed" is the precision whose run is best on validation data.
    """
    kept: dict[str, list[Line]] = {}
    for strategy in dict.fromkeys(line["strategy"] for line in lines):
        own = [line for line in lines if line["strategy"] == strategy]
        rate = best_rate(own)
        kept[strategy] = [line for line in own if line["rate"] == rate]
    precisions = [line for strategy, own in kept.items() if strategy.startswith(FIXED) for line in own]
    seeds = sorted({line["seed"] for line in precisions})
    kept[FIXED] = [max((line for line in precisions if line["seed"] == seed), key=on_val) for seed in seeds]
    return {strategy: kept[strategy] for strategy in STRATEGIES if kept.get(strategy)}


def judged(lines: Sequence[Line]) -> None:
    """Sets `collapsed` in the lines of a cell: far below the best fixed, or validation accuracy is that of a guess.

    Runs that do not count, since another learning rate or precision was better, are judged by themselves.
    """
    kept = counted(lines)
    bar = mean(map(on_test, kept[FIXED])) - COLLAPSE if FIXED in kept else 0.0
    for line in lines:
        own = kept.get(line["strategy"], [])
        reached = mean(map(on_test, own)) if any(line is other for other in own) else on_test(line)
        line["collapsed"] = reached < bar or on_val(line) < ABOVE_CHANCE / line["classes"]


def verdicts(lines: Sequence[Line]) -> Iterator[Line]:
    """A line for each cell, one for each strategy over all cells, and one for all."""
    by_cell: dict[tuple[str, ...], list[Line]] = {}
    for line in lines:
        by_cell.setdefault(tuple(line[name] for name in CELL), []).append(line)
    cells = [_of_cell(own) for own in by_cell.values()]
    yield from cells
    for strategy in STRATEGIES:
        own = [cell["strategies"][strategy] for cell in cells if strategy in cell["strategies"]]
        if own:
            yield {"benchmark": "robust", "strategy": strategy, **_summed(own)}
    yield {"benchmark": "robust", **_compared(cells)}


def _summed(found: Sequence[Line]) -> Line:
    """Of one strategy's cells."""
    shares = [share for each in found for share in each["used"]]
    return {
        "cells": len(found),
        "collapses": sum(each["collapsed"] for each in found),
        "test": round(mean(each["test"] for each in found), 4),
        "used_mean": round(mean(shares), 4) if shares else None,
        "used_least": round(min(shares), 4) if shares else None,
        "used_95": sum(share >= FULL for share in shares),
        "runs": len(shares),
    }


def _compared(cells: Sequence[Line]) -> Line:
    """The gradient with its rivals."""
    ahead = [cell for cell in cells if "ahead" in cell]
    tight = [cell["ahead_of_fixed"] for cell in cells if cell["flash_part"] >= TIGHT and "ahead_of_fixed" in cell]
    return {
        "cells": len(cells),
        "ahead": sum(cell["ahead"] > cell["noise"] for cell in ahead),
        "behind": sum(cell["ahead"] < -cell["noise"] for cell in ahead),
        "ahead_mean": round(mean(cell["ahead"] for cell in ahead), 4) if ahead else None,
        "tight_cells": len(tight),
        "ahead_of_fixed_tight": round(mean(tight), 4) if tight else None,
    }


def _of_cell(lines: list[Line]) -> Line:
    kept, first = counted(lines), lines[0]
    line: Line = {"benchmark": "robust", **{name: first[name] for name in CELL}}
    line |= {name: first[name] for name in ("flash_part", "budget", "budget_ram", "steps", "images")}
    floats = {one["seed"]: one["float"]["test"] for one in lines if one["float"] is not None}
    line |= {"seeds": len(floats), "float": round(mean(floats.values()), 4) if floats else None}
    line["strategies"] = {
        strategy: {
            "test": round(mean(map(on_test, own)), 4),
            "each": [round(on_test(one), 4) for one in own],
            "used": [_share(one) for one in own if one["used"] is not None],
            "rate": own[0]["rate"],
            "of": sorted({one["strategy"] for one in own}),
            "collapsed": any(one["collapsed"] for one in own),
        }
        for strategy, own in kept.items()
    }
    if "gradient" in kept and len(kept) > 1:
        best = max((s for s in kept if s != "gradient"), key=lambda s: mean(map(on_test, kept[s])))
        line |= {"best_rival": best, "ahead": _ahead(kept["gradient"], kept[best])}
        line["noise"] = _noise(kept["gradient"], kept[best])
    if {"gradient", FIXED} <= kept.keys():
        line["ahead_of_fixed"] = _ahead(kept["gradient"], kept[FIXED])
    return line


def _share(line: Line) -> float:
    """Of the budget that is filled most: where RAM ends the growth of a network, flash may be left."""
    shares = [line[f"used{cost}"] / line[f"budget{cost}"] for cost in ("", "_ram") if line[f"budget{cost}"] is not None]
    return float(round(max(shares), 4))


def _ahead(own: Sequence[Line], rival: Sequence[Line]) -> float:
    return round(mean(map(on_test, own)) - mean(map(on_test, rival)), 4)


def _noise(own: Sequence[Line], rival: Sequence[Line]) -> float:
    """Two standard errors of the difference of two means of test accuracy.

    The variance over seeds, and that of a share of so many test images, p (1 - p) / N. Seeds share the test images, so
    the latter does not fall with their number.
    """
    total = 0.0
    for lines in (own, rival):
        values = [on_test(line) for line in lines]
        p, images = mean(values), lines[0]["images"]["test"]
        total += p * (1 - p) / images + (variance(values) / len(values) if len(values) > 1 else 0.0)
    return round(2 * math.sqrt(total), 4)
