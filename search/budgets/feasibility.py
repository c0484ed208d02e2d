"""Budgets as promises: the exact check, the feasible range, and the refusal that says why."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch

from cost_models.rules import CostModel
from search.budgets.layer_costs import cost_by_layer
from search.errors import PicojouleError
from spaces.architecture import Architecture
from spaces.decisions.decision import Decision
from spaces.decisions.gates import Gate
from spaces.decisions.selection import Selection
from spaces.space import FAKE, Space


class BudgetError(PicojouleError, ValueError):
    """A budget for a cost that does not exist, or that no architecture of the space can meet."""


@dataclass(frozen=True)
class Range:
    """What a cost can be in a space: from the smallest architecture to the seed network."""

    floor: float
    seed: float


def costs_of(space: Space, models: Mapping[str, CostModel]) -> dict[str, float]:
    """The exact costs of the space as its decisions stand."""
    with torch.no_grad():
        network = space.describe()
        return {name: model(network).item() for name, model in models.items()}


def seed_architecture(space: Space) -> Architecture:
    """The seed network: all channels, the highest precision, whole kernels, and the first of several alternatives."""
    picks = {name: (decision.start,) * decision.groups for name, decision in space.decisions.items()}
    return Architecture(space.name, picks, space.spec.left_alone)


def smallest(space: Space, model: CostModel) -> Architecture:
    """One channel in each gate, and choices from which no single change saves anything.

    The lowest bits are not always the cheapest, because unpacking takes cycles. The search for it starts from the best
    of the architectures in which all choices take the option at the same place, the first, the second and so on, and of
    the one in which each choice takes the option that costs least in these.
    """
    widths = [len(choice.options) for name, choice in space.choices.items() if not space.spec.choices[name].branches]
    starts = [_uniform(space, index) for index in range(max(widths, default=1))]
    starts.append(_cheapest_apart(space, starts, model))
    best = min(starts, key=lambda a: costs_at(space, a, {"": model})[""])
    cost = costs_at(space, best, {"": model})[""]
    while True:
        picks = _cheaper(space, best, model)
        candidates = [best.having(picks), *(best.having({name: pick}) for name, pick in picks.items())]
        costs = [costs_at(space, candidate, {"": model})[""] for candidate in candidates]
        if min(costs) >= cost:
            return best
        cost = min(costs)
        best = candidates[costs.index(cost)]


def _cheapest_apart(space: Space, starts: Sequence[Architecture], model: CostModel) -> Architecture:
    """Each choice as in the one of these in which it costs least.

    What an option brings once, such as the call of a kernel, is shared there by all that take it. The slope of an
    option that nothing takes has all of it for each.
    """
    found: dict[str, tuple[float, tuple[int, ...]]] = {}
    for start in starts:
        for name, slope in _slopes(space, start, model).items():
            cost = slope.gather(1, _places(space, start, name)[:, None]).sum().item()
            if name not in found or cost < found[name][0]:
                found[name] = cost, start.picks[name]
    return starts[0].having({name: pick for name, (_, pick) in found.items()})


def _uniform(space: Space, index: int) -> Architecture:
    """One channel in each gate, and of every choice the option at that place."""
    picks: dict[str, tuple[int, ...]] = {}
    for name, decision in space.decisions.items():
        if isinstance(decision, Gate):
            picks[name] = (1,) + (0,) * (decision.groups - 1)
        elif space.spec.choices[name].branches:
            picks[name] = (decision.start,)
        else:
            picks[name] = (decision.options[min(index, len(decision.options) - 1)],) * decision.groups
    return Architecture(space.name, picks, space.spec.left_alone)


def _cheaper(space: Space, architecture: Architecture, model: CostModel) -> dict[str, tuple[int, ...]]:
    """The new picks of the choices in which a group has a cheaper option, by the slope of the cost at its share."""
    picks: dict[str, tuple[int, ...]] = {}
    for name, slope in _slopes(space, architecture, model).items():
        now = _places(space, architecture, name)
        kept = slope.gather(1, now[:, None])[:, 0]
        found = torch.where(slope.amin(1) < kept, slope.argmin(1), now)
        pick = tuple(space.choices[name].options[i] for i in found.tolist())
        picks |= {name: pick} if pick != architecture.picks[name] else {}
    return picks


def _slopes(space: Space, architecture: Architecture, model: CostModel) -> dict[str, torch.Tensor]:
    """Choice -> (groups, n_options), the slopes of the cost at its shares.

    A cost is a sum of products in which a share is at most one factor, so the slope tells what an option costs.
    """
    with decisions_as(space, architecture):
        leaves = {name: leaf.detach().requires_grad_() for name, leaf in space.select(FAKE).leaves().items()}
        cost = model(space.describe(Selection.of(FAKE, leaves)))
    if not cost.requires_grad or not space.choices:
        return {}
    slopes = torch.autograd.grad(cost, [leaves[name] for name in space.choices], allow_unused=True)
    return {name: slope.cpu() for name, slope in zip(space.choices, slopes, strict=True) if slope is not None}


def _places(space: Space, architecture: Architecture, name: str) -> torch.Tensor:
    """(groups,), the places of a choice's picks among its options."""
    return torch.tensor([space.choices[name].options.index(pick) for pick in architecture.picks[name]])


def _state_of(decision: Decision) -> list[torch.Tensor]:
    return [*decision.parameters(), *decision.buffers()]


@contextmanager
def decisions_as(space: Space, architecture: Architecture) -> Iterator[None]:
    """Inside it the space is in evaluation, its decisions as in the architecture; both are given back behind it."""
    decisions = space.decisions
    before = {name: [value.clone() for value in _state_of(d)] for name, d in decisions.items()}
    # A search in training may sample; an architecture is its argmax. Walking over all modules would take its time.
    with space.running(training=False) if space.training else nullcontext():
        try:
            space.fix(architecture)
            yield
        finally:
            for name, decision in decisions.items():
                for value, kept in zip(_state_of(decision), before[name], strict=True):
                    value.data.copy_(kept)


def costs_at(space: Space, architecture: Architecture, models: Mapping[str, CostModel]) -> dict[str, float]:
    """Exact costs of an architecture; the space's own decisions are left as they were."""
    with decisions_as(space, architecture):
        return costs_of(space, models)


def ranges(space: Space, models: Mapping[str, CostModel]) -> dict[str, Range]:
    start = costs_at(space, seed_architecture(space), models)
    floors = {name: costs_at(space, smallest(space, model), {name: model})[name] for name, model in models.items()}
    return {name: Range(floors[name], start[name]) for name in models}


def over(costs: Mapping[str, float], budgets: Mapping[str, float]) -> dict[str, float]:
    """The costs that are over their budgets -> by how much."""
    return {name: costs[name] - limit for name, limit in budgets.items() if costs[name] > limit}


@dataclass(frozen=True)
class Budgets:
    """Limits on the costs of a space's architectures, and the exact check. The space's own decisions stay as they are.

    Attributes:
        models: cost -> its model; also of costs without a limit.
        limits: cost -> its budget.
    """

    space: Space
    models: Mapping[str, CostModel]
    limits: Mapping[str, float]

    def costs(self, architecture: Architecture) -> dict[str, float]:
        """The exact costs, with and without a limit."""
        return costs_at(self.space, architecture, self.models)

    def excess(self, architecture: Architecture) -> dict[str, float]:
        """The costs that are over their budgets -> by how much."""
        return over(self.costs(architecture), self.limits)

    def met_by(self, architecture: Architecture) -> bool:
        return not self.excess(architecture)

    def violation(self, excess: Mapping[str, float]) -> float:
        """An excess as one number: the sum of its parts, each in units of its budget."""
        return sum(amount / self.limits[name] for name, amount in excess.items())


def refuse_impossible(budgets: Budgets) -> None:
    """Refuses budgets that no architecture of the space can meet.

    Raises:
        BudgetError: even the smallest architecture exceeds a budget. The message has the feasible range, and each
            layer's floor.
    """
    space, models = budgets.space, budgets.models
    found = ranges(space, models)
    for name, limit in budgets.limits.items():
        if limit >= found[name].floor:
            continue
        unit = models[name].unit
        raise BudgetError(
            f"budgets.{name}: {limit:g} {unit} cannot be met in space '{space.name}': feasible are "
            f"{found[name].floor:g} to {found[name].seed:g} {unit}. Floor of each layer:\n"
            f"{_floors(space, models[name])}\n"
            "Raise the budget, or open more of the space "
            "(lower space.weight_bits, fewer space.exclude, a smaller model)."
        )


def _floors(space: Space, model: CostModel) -> str:
    with decisions_as(space, smallest(space, model)), torch.no_grad():
        rows = cost_by_layer(model, space.describe())
    return "\n".join(f"  {name}: {value:g} {model.unit}" for name, value in rows if value)
