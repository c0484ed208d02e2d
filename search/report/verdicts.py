"""What a report says first: what each network reaches, whether it keeps its budgets, and what it was searched for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from search.monitor.words import COSTS, Metric
from search.report.runs import RunPoint, RunRecord

SPLITS = {"test": "test data", "val": "validation data"}  # of which the first is worded that a network has
WHOLE_FROM = 1000  # figures as high as this have no decimals
PARTS = {"train": "for training", "val": "for validation", "test": "for test"}


@dataclass(frozen=True)
class Promise:
    """A budget, and what a network leaves of it, which is negative where it breaks the budget."""

    limit: float
    left: float

    @property
    def met(self) -> bool:
        return self.left >= 0


@dataclass(frozen=True)
class Verdict:
    """One network, or several, in a sentence.

    Attributes:
        value: "87.40%".
        of: what the value is: "accuracy on test data".
        costs: "24,330 of 24,576 B of flash, met", one for each budget.
        met: whether every budget is met; None: there are no budgets.
    """

    value: str
    of: str
    costs: tuple[str, ...]
    met: bool | None


def promises(point: RunPoint) -> dict[str, Promise]:
    """Of every budget whose cost is known, in the order of the costs."""
    return {
        name: Promise(point.budgets[name], point.budgets[name] - cost["found"])
        for name, cost in point.costs.items()
        if name in point.budgets
    }


def verdict(point: RunPoint, metric: Metric, caution: str) -> Verdict | None:
    """Of one network; None: what its integers reach is not known.

    Args:
        caution: what stands beside the metric.
    """
    split = _split([point])
    if split is None:
        return None
    kept = promises(point)
    names = kept or list(point.costs)[:1]
    costs = tuple(_cost(name, point.costs[name], kept.get(name)) for name in names)
    of = ", ".join(filter(None, (f"{metric.name} on {SPLITS[split]}", caution)))
    met = all(promise.met for promise in kept.values()) if kept else None
    return Verdict(metric.written(point.scores["integer"][split]), of, costs, met)


def verdict_on_all(points: Sequence[RunPoint], metric: Metric) -> Verdict | None:
    """From the least to the most of several networks; None: there is no split that all of them have."""
    split = _split(points)
    if split is None:
        return None
    values = [point.scores["integer"][split] for point in points]
    name = next((name for name in points[0].costs if all(name in point.costs for point in points)), None)
    costs = [] if name is None else [_range(name, [point.costs[name] for point in points])]
    promised = [list(kept.values()) for point in points if (kept := promises(point))]
    met = sum(all(promise.met for promise in kept) for kept in promised)
    if promised:
        whole = met == len(promised)
        costs.append("all budgets met" if whole else f"{len(promised) - met} of {len(promised)} networks OVER a budget")
    value = " to ".join(dict.fromkeys(metric.written(each) for each in (min(values), max(values))))
    of = f"{metric.name} on {SPLITS[split]}, {len(points)} networks"
    return Verdict(value, of, tuple(costs), met == len(promised) if promised else None)


def _split(points: Sequence[RunPoint]) -> str | None:
    """The first split that the integers of all points were measured on."""
    return next((s for s in SPLITS if points and all(point.of_integers(s) is not None for point in points)), None)


def amount(value: float) -> str:
    """24576.0 -> "24,576", 103469.58 -> "103,470", 0.25 -> "0.25"."""
    return f"{value:,.0f}" if abs(value) >= WHOLE_FROM else f"{value:,.6g}"


def _cost(name: str, cost: Mapping[str, Any], promise: Promise | None) -> str:
    """ "24,330 of 24,576 B of flash, met"."""
    found, unit = amount(cost["found"]), cost["unit"]
    if promise is None:
        return f"{found} {_unit_of(name, unit)}, no budget"
    kept = "met" if promise.met else f"OVER by {amount(-promise.left)} {unit}"
    return f"{found} of {amount(promise.limit)} {_unit_of(name, unit)}, {kept}"


def _unit_of(name: str, unit: str) -> str:
    """ "B of flash"; "parameters", where the unit is the cost."""
    words = COSTS.get(name, name)
    return unit if words == unit else f"{unit} of {words}"


def _range(name: str, costs: Sequence[Mapping[str, Any]]) -> str:
    found = [cost["found"] for cost in costs]
    ends = " to ".join(dict.fromkeys(map(amount, (min(found), max(found)))))
    return f"{ends} {_unit_of(name, costs[0]['unit'])}"


def facts(runs: Sequence[RunRecord]) -> dict[str, str]:
    """What the runs were for, on what, how, and when, as far as it is known; what several runs share stands once."""
    targets = [run.settings.get("target", {}) for run in runs]
    said = {
        "Run": [run.name for run in runs],
        "Target": [_named(str(each.get("name") or ""), str(each.get("source") or "")) for each in targets],
        "Data": [_data(run) for run in runs],
        "Strategy": [run.strategy for run in runs],
        "Seed": [str(run.seed) for run in runs],
        "Ended": [_ended(run) for run in runs if run.finished],
    }
    whole = {name: list(dict.fromkeys(filter(None, each))) for name, each in said.items()}
    if len(dates := sorted(whole["Ended"])) > 1:
        whole["Ended"] = [f"from {dates[0]} to {dates[-1]}"]
    found = {name: "; ".join(each) if name == "Target" else ", ".join(each) for name, each in whole.items() if each}
    unfinished = sum(not run.finished for run in runs)
    counts = [str(len(runs)) if len(runs) > 1 else "", f"{unfinished} unfinished" if unfinished else ""]
    return found | ({"Runs": ", ".join(filter(None, counts))} if any(counts) else {})


def _named(name: str, what: str) -> str:
    return ": ".join(filter(None, (name, what)))


def _data(run: RunRecord) -> str:
    """ "digits: 1,294 for training, 144 for validation"; runs of earlier versions say the name alone."""
    data = run.summary.get("data", {})
    name = str(data.get("name") or run.settings.get("data", {}).get("name") or "")
    counts = [f"{data[split]:,} {words}" for split, words in PARTS.items() if split in data]
    return _named(name, ", ".join(counts))


def _ended(run: RunRecord) -> str:
    """ "2026-01-31 12:00 UTC"."""
    date = str(run.summary.get("date", ""))
    return f"{date[:10]} {date[11:16]} UTC" if date else ""
