"""The points of a front: the same search for several budgets or lambdas, from the loosest to the tightest."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf

from search.errors import UsageError


@dataclass(frozen=True)
class Point:
    """Budgets and lambdas of one search.

    Attributes:
        name: of the point's folder, and in results. It is empty where a run has only one point.
    """

    name: str
    budgets: Mapping[str, float]
    lambdas: Mapping[str, float]


@dataclass
class Front:
    """What `front` in a configuration says. Without it a run has one point, with the run's own budgets and lambdas.

    Attributes:
        budgets: cost -> limits, one for each point. Limits of several costs go together, the first with the first.
        lambdas: cost -> lambdas, one for each point, in the same way.
        points: how many points there are. Their budgets lie between the seed network's costs and the run's budgets, at
            equal distances of their logarithms.
    """

    budgets: dict[str, list[float]] = field(default_factory=dict)
    lambdas: dict[str, list[float]] = field(default_factory=dict)
    points: int | None = None

    def __post_init__(self) -> None:
        budgets = ", ".join(f"front.{name}" for name in self.budgets)
        ways = (budgets, "front.lambdas" * bool(self.lambdas), "front.points" * (self.points is not None))
        given = list(filter(None, ways))
        if len(given) > 1:
            raise UsageError(f"front: {' and '.join(given)} are different ways to say it; take one.")
        if self.points is not None and self.points < 1:
            raise UsageError(f"front.points is {self.points}; allowed: 1 or more.")
        lists = {**self.budgets, **self.lambdas}
        wrong = {name: values for name, values in lists.items() if not values or not all(0 < v < inf for v in values)}
        if wrong:
            raise UsageError(f"front: {wrong}; allowed: lists of finite numbers over 0.")
        if len({len(values) for values in lists.values()}) > 1:
            raise UsageError(f"front: {lists} are of different lengths; a point takes one of each.")


def points_of(
    front: Front, budgets: Mapping[str, float], lambdas: Mapping[str, float], seed_costs: Mapping[str, float]
) -> tuple[Point, ...]:
    """The points in the order in which a search comes to them, in which costs fall.

    Raises:
        UsageError: there are no budgets for `points` to lie between, points are too close, or a point occurs twice.
    """
    if front.points is not None:
        if not budgets:
            raise UsageError(
                "front.points: lie between the seed network's costs and budgets, and there are none. Add budgets."
            )
        front = Front(budgets=_spaced(front.points, budgets, seed_costs))
    axis = front.budgets or front.lambdas
    if not axis:
        return (Point("", budgets, lambdas),)
    rows = _rows(axis)
    first = next(iter(axis))
    rows.sort(key=lambda row: row[first], reverse=bool(front.budgets))
    names = [_name(row) for row in rows]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise UsageError(f"front: {twice[:3]} given more than once (to six digits). Give each point once.")
    if front.budgets:
        return tuple(Point(name, {**budgets, **row}, lambdas) for name, row in zip(names, rows, strict=True))
    return tuple(Point(name, budgets, {**lambdas, **row}) for name, row in zip(names, rows, strict=True))


def _spaced(points: int, budgets: Mapping[str, float], seed_costs: Mapping[str, float]) -> dict[str, list[float]]:
    """Cost -> the budgets of so many points.

    Raises:
        UsageError: so many points would not differ from each other.
    """

    def spaced(count: int) -> dict[str, list[float]]:
        shares = [(k + 1) / count for k in range(count)]
        return {n: [_between(seed_costs[n], limit, share) for share in shares] for n, limit in budgets.items()}

    apart = next(n for n in range(points, 0, -1) if len({_name(row) for row in _rows(spaced(n))}) == n)
    if apart < points:
        spans = ", ".join(f"{name} from {seed_costs[name]:g} to {limit:g}" for name, limit in budgets.items())
        raise UsageError(
            f"front.points is {points}: between the seed network's costs and the budgets ({spans}) no more than "
            f"{apart} are apart. Take so many, or lower the budgets."
        )
    return spaced(points)


def _rows(axis: Mapping[str, list[float]]) -> list[dict[str, float]]:
    """For each point one number of each list."""
    return [dict(zip(axis, values, strict=True)) for values in zip(*axis.values(), strict=True)]


def _name(row: Mapping[str, float]) -> str:
    return ",".join(f"{name}={value:g}" for name, value in row.items())


def _between(seed_cost: float, limit: float, share: float) -> float:
    return float(round(seed_cost * (limit / seed_cost) ** share))
