"""Budgets as constraints: the multipliers of their costs in the loss (docs/methods.md, section 9)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from search.objective.menu import Leaves, Menu

SMOOTHING, MOST = 0.5, 4.0  # of the factors of `Dual`
OVERSHOOT = 0.05  # of a target, by which no step of the decisions leads below it


@dataclass(frozen=True)
class Outlook:
    """What is known when multipliers are set.

    Attributes:
        costs: expected costs now.
        slopes: cost -> d cost / d each leaf of the selection.
        leaves: of the selection now.
        losses: leaf -> what its options add to the loss, what else is in the loss included.
        costs_of: the costs that a selection of other leaves has.
        task_loss: of this step.
        progress: share of the search that is done, 0 to 1.
    """

    costs: Mapping[str, float]
    slopes: Mapping[str, Leaves]
    leaves: Leaves
    losses: Leaves
    costs_of: Callable[[Leaves], Mapping[str, float]]
    task_loss: float
    progress: float


class Method(Protocol):
    """A way to meet budgets. `budgets` and `starts`, where the targets start, are by cost."""

    def __init__(self, budgets: Mapping[str, float], starts: Mapping[str, float], ramp: float) -> None: ...

    def multipliers(self, outlook: Outlook) -> dict[str, float]:
        """d loss / d each cost."""

    def floors(self, outlook: Outlook) -> dict[str, float]:
        """Costs below which no step of the decisions should lead."""

    def state(self) -> Any:
        """What `load` takes, in a checkpoint or in the search of the next point of a front."""

    def load(self, state: Any) -> None: ...


class Dual:
    """The multipliers at which the best options come to the targets, by the estimates that there are now.

    A Lagrangian with given multipliers takes in each group the option with the least loss + multiplier * cost: it has a
    solution for each multiplier, and a larger one costs less. So the multiplier is found from the target, by bisection.
    It has the right size whatever the size of the losses is, and nothing adds up while decisions are on their way.

    Targets move geometrically from the start to the budget over the first `ramp` of the search, so that channels leave
    while weights can still adapt. What changes save together is less than the sum of the slopes. A factor on what is
    needed makes up for this. It is measured each time, on the costs that the best options would have.
    """

    def __init__(self, budgets: Mapping[str, float], starts: Mapping[str, float], ramp: float) -> None:
        self.budgets, self.ramp = dict(budgets), ramp
        self._starts = {name: max(starts[name], budget) for name, budget in budgets.items()}
        self._factors: dict[str, list[float]] = {name: [1.0, 1.0] for name in budgets}  # to save and to spend

    def target(self, cost: str, progress: float) -> float:
        share = min(1.0, progress / self.ramp) if self.ramp > 0 else 1.0
        start = self._starts[cost]
        return float(start * (self.budgets[cost] / start) ** share)

    def multipliers(self, outlook: Outlook) -> dict[str, float]:
        if not self.budgets:
            return {}
        menu = Menu(outlook.losses, [outlook.slopes[name] for name in self.budgets], outlook.leaves)
        needs = {name: outlook.costs[name] - self.target(name, outlook.progress) for name in self.budgets}
        found = menu.multipliers([need * self._factors[name][need < 0] for name, need in needs.items()])
        reached = outlook.costs_of(menu.best(found))
        for (name, need), expected in zip(needs.items(), menu.saved(found), strict=True):
            saved = outlook.costs[name] - reached[name]
            if saved * expected > 0:
                factor = min(MOST, max(1 / MOST, expected / saved))
                factors = self._factors[name]
                factors[need < 0] += SMOOTHING * (factor - factors[need < 0])
        return dict(zip(self.budgets, found, strict=True))

    def floors(self, outlook: Outlook) -> dict[str, float]:
        return {name: (1 - OVERSHOOT) * self.target(name, outlook.progress) for name in self.budgets}

    def state(self) -> Any:
        return self._factors

    def load(self, state: Any) -> None:
        self._factors |= {name: list(factors) for name, factors in state.items() if name in self.budgets}


class Duccio:
    """The term lambda * max(0, C - T), with lambda = L_task / (C_0 - T) at the first violation.

    lambda is ramped from 1% to 100% over the first half of the search (arXiv 2310.07217).
    """

    def __init__(self, budgets: Mapping[str, float], starts: Mapping[str, float], ramp: float) -> None:
        self.budgets = dict(budgets)
        self._strengths: dict[str, float] = {}

    def multipliers(self, outlook: Outlook) -> dict[str, float]:
        found = {}
        for name, budget in self.budgets.items():
            excess = outlook.costs[name] - budget
            if excess > 0:
                self._strengths.setdefault(name, outlook.task_loss / excess)
            ramp = 0.01 + 0.99 * min(1.0, 2 * outlook.progress)
            found[name] = self._strengths[name] * ramp if excess > 0 else 0.0
        return found

    def floors(self, outlook: Outlook) -> dict[str, float]:
        return {}

    def state(self) -> Any:
        return self._strengths

    def load(self, state: Any) -> None:
        self._strengths |= {name: strength for name, strength in state.items() if name in self.budgets}


METHODS: dict[str, type[Method]] = {"dual": Dual, "duccio": Duccio}
