"""The points of a front: the same search for several budgets or lambdas, from the loosest to the tightest."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Point:
    """Attributes: name: of its folder and in results; empty where a run has one point alone."""

    name: str
    budgets: Mapping[str, float]
    lambdas: Mapping[str, float]


@dataclass
class Front:
    """What `front` in a configuration says; nothing: one point, the run's own budgets and lambdas.

    Attributes:
        budgets: cost -> limits, a point each; several costs' go together, the first with the first.
        lambdas: cost -> lambdas, likewise.
        points: so many, whose budgets lie between the seed network's costs and the run's budgets, even in logarithm.
    """

    budgets: dict[str, list[float]] = field(default_factory=dict)
    lambdas: dict[str, list[float]] = field(default_factory=dict)
    points: int | None = None

    def __post_init__(self) -> None:
        given = [bool(self.budgets), bool(self.lambdas), self.points is not None]
        if sum(given) > 1:
            raise ValueError("front: budgets, front.lambdas and front.points are three ways to say it; take one.")
        if self.points is not None and self.points < 1:
            raise ValueError(f"front.points is {self.points}; allowed: 1 or more.")
        lists = {**self.budgets, **self.lambdas}
        wrong = {name: values for name, values in lists.items() if not values or min(values) <= 0}
        if wrong:
            raise ValueError(f"front: {wrong}; allowed: lists of numbers over 0.")
        if len({len(values) for values in lists.values()}) > 1:
            raise ValueError(f"front: {lists} are of different lengths; a point takes one of each.")


def points_of(
    front: Front, budgets: Mapping[str, float], lambdas: Mapping[str, float], seed_costs: Mapping[str, float]
) -> tuple[Point, ...]:
    """The points in the order in which a search meets them: costs fall.

    Raises:
        ValueError: points between budgets that are not there; a point twice.
    """
    if front.points is not None:
        steps = range(1, front.points + 1)
        spaced = {n: [_between(seed_costs[n], limit, k / front.points) for k in steps] for n, limit in budgets.items()}
        if not spaced:
            raise ValueError("front.points: lie between the seed network's costs and budgets, and there are none.")
        front = Front(budgets=spaced)
    axis = front.budgets or front.lambdas
    if not axis:
        return (Point("", budgets, lambdas),)
    rows = [dict(zip(axis, values, strict=True)) for values in zip(*axis.values(), strict=True)]
    first = next(iter(axis))
    rows.sort(key=lambda row: row[first], reverse=bool(front.budgets))
    names = [",".join(f"{name}={value:g}" for name, value in row.items()) for row in rows]
    if len(set(names)) < len(names):
        raise ValueError(f"front: {names} has points twice.")
    if front.budgets:
        return tuple(Point(name, {**budgets, **row}, lambdas) for name, row in zip(names, rows, strict=True))
    return tuple(Point(name, budgets, {**lambdas, **row}) for name, row in zip(names, rows, strict=True))


def _between(seed_cost: float, limit: float, share: float) -> float:
    return float(round(seed_cost * (limit / seed_cost) ** share))
