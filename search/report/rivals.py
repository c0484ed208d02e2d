"""Rivals: runs that differ in nothing but seed and budgets. What each reaches at fixed budgets and over all of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import mean, stdev

import numpy as np
from scipy.special import stdtrit

from search.budgets.pareto import front_volume, on_front
from search.report.runs import RunPoint, RunRecord
from search.report.settings import ABSENT, differing, flat, written

CONFIDENCE = 0.95
# What runs of one rival may differ in.
OWN = (
    *("seed", "folder", "name", "experiment", "budgets", "lambdas", "front", "tensorboard", "quiet"),
    *("strategy.storage", "strategy.study", "train.threads", "train.warmup.source"),
)

Budgets = tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Entry:
    """An exported point, as comparisons see it.

    Attributes:
        index: of the point in the report.
        value: the metric of the integers on test data, or on validation data where there is no test data.
        selected: the metric of the integers on validation data, by which points are chosen.
    """

    index: int
    rival: str
    seed: int
    budgets: Budgets
    costs: Mapping[str, float]
    seed_costs: Mapping[str, float]
    selected: float
    value: float

    def keeps(self, budgets: Budgets) -> bool:
        return all(self.costs.get(name, float("inf")) <= limit for name, limit in budgets)


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and half of its 95% interval, which is None with one seed."""

    rival: str
    mean: float
    half: float | None
    values: tuple[float, ...]


def labels(runs: Sequence[RunRecord]) -> list[str]:
    """A name for the rival of each run: its strategy, and the settings in which rivals of one strategy differ."""
    shared = [{key: value for key, value in flat(run.settings).items() if not _own(key)} for run in runs]
    found = []
    for run, settings in zip(runs, shared, strict=True):
        same = [other for other, each in zip(shared, runs, strict=True) if other and each.strategy == run.strategy]
        if settings:
            keys = differing(same)
            shown = [f"{key.removeprefix('strategy.')}={written(settings.get(key, ABSENT))}" for key in keys]
        else:
            shown = ["settings unknown"] if same else []
        found.append(", ".join([run.strategy, *shown]))
    return found


def _own(key: str) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in OWN)


def entry(index: int, rival: str, run: RunRecord, point: RunPoint) -> Entry | None:
    """The point as comparisons see it; None: it was not exported, or the metric of its integers is missing."""
    selected, test = point.of_integers("val"), point.of_integers("test")
    if point.folder is None or selected is None:
        return None
    costs = {name: float(cost["found"]) for name, cost in point.costs.items()}
    seed_costs = {name: float(c["seed_network"]) for name, c in point.costs.items() if "seed_network" in c}
    budgets = tuple(sorted((name, float(limit)) for name, limit in point.budgets.items()))
    seed = int(point.summary.get("seed", run.seed))
    return Entry(
        index=index,
        rival=rival,
        seed=seed,
        budgets=budgets,
        costs=costs,
        seed_costs=seed_costs,
        selected=selected,
        value=selected if test is None else test,
    )


def front(entries: Sequence[Entry], cost: str) -> list[int]:
    """Indices of the points that no other point dominates in cost and validation error, in the order of their costs."""
    having = [e for e in entries if cost in e.costs]
    if not having:
        return []
    keep = on_front(np.array([[e.costs[cost], 1 - e.selected] for e in having]))
    chosen = [e for e, stays in zip(having, keep, strict=True) if stays]
    return [e.index for e in sorted(chosen, key=lambda e: e.costs[cost])]


def at_budgets(entries: Sequence[Entry]) -> dict[Budgets, list[Estimate]]:
    """Each rival at each set of budgets, over its seeds. A rival without budgets counts wherever it keeps them."""
    found = {}
    for budgets in sorted({e.budgets for e in entries if e.budgets}):
        candidates = [e for e in entries if e.budgets == budgets or (not e.budgets and e.keeps(budgets))]
        found[budgets] = [
            estimate(rival, [best.value for best in by_seed.values()]) for rival, by_seed in _best(candidates).items()
        ]
    return found


def repeated(entries: Iterable[Entry]) -> list[tuple[Entry, Entry]]:
    """Pairs of runs with the same rival, seed and budgets, of which one counts."""
    seen: dict[tuple[str, int, Budgets], Entry] = {}
    pairs = []
    for e in entries:
        first = seen.setdefault((e.rival, e.seed, e.budgets), e)
        if first is not e and first.budgets:
            pairs.append((first, e))
    return pairs


def _best(entries: Iterable[Entry]) -> dict[str, dict[int, Entry]]:
    """Rival -> seed -> its point of the best metric on validation data."""
    found: dict[str, dict[int, Entry]] = {}
    for e in entries:
        best = found.setdefault(e.rival, {}).setdefault(e.seed, e)
        if e.selected > best.selected:
            found[e.rival][e.seed] = e
    return found


def seed_cost(entries: Sequence[Entry], cost: str) -> float | None:
    """The cost of the largest seed network: a corner of hypervolumes that no result changes; None: it is not known."""
    return max((e.seed_costs[cost] for e in entries if e.seed_costs.get(cost, 0) > 0), default=None)


def hypervolumes(entries: Sequence[Entry], cost: str) -> list[Estimate]:
    """The hypervolume of each rival, over the seeds of which no budget is missing; see `front_volume`."""
    corner = seed_cost(entries, cost)
    if corner is None:
        return []
    having = [e for e in entries if e.costs.get(cost, 0) > 0]
    return [
        estimate(rival, [_volume(own, cost, corner) for seed, own in by_seed.items() if seed not in missing])
        for rival, (by_seed, missing) in _by_seed(having).items()
        if by_seed.keys() - missing.keys()
    ]


def incomplete(entries: Sequence[Entry]) -> list[str]:
    """Seeds that count in no hypervolume, because they lack budgets that the rival has with other seeds."""
    return [
        f"rival '{rival}', seed {seed}: has no network for {', '.join(map(str, map(dict, lacking)))}, so it is in none "
        "of the hypervolumes. Run it for these budgets, too."
        for rival, (_, missing) in _by_seed(entries).items()
        for seed, lacking in missing.items()
    ]


def _by_seed(entries: Sequence[Entry]) -> dict[str, tuple[dict[int, list[Entry]], dict[int, list[Budgets]]]]:
    """Rival -> seed -> its points, and for each seed the budgets that it lacks and the rival has with other seeds."""
    by_rival: dict[str, dict[int, list[Entry]]] = {}
    for e in entries:
        by_rival.setdefault(e.rival, {}).setdefault(e.seed, []).append(e)
    found = {}
    for rival, by_seed in by_rival.items():
        every = {e.budgets for own in by_seed.values() for e in own}
        lacking = {seed: sorted(every - {e.budgets for e in own}) for seed, own in by_seed.items()}
        found[rival] = by_seed, {seed: budgets for seed, budgets in lacking.items() if budgets}
    return found


def _volume(entries: Sequence[Entry], cost: str, corner: float) -> float:
    costs, selected, values = zip(*((e.costs[cost], e.selected, e.value) for e in entries), strict=True)
    return front_volume(costs, selected, values, corner)


def estimate(rival: str, values: Sequence[float]) -> Estimate:
    """Mean and half of Student's interval: t * s / sqrt(n)."""
    n = len(values)
    if n < 2:
        return Estimate(rival, values[0], None, tuple(values))
    t = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2))
    return Estimate(rival, mean(values), t * stdev(values) / sqrt(n), tuple(values))
