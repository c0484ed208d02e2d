"""Budgets as promises: the exact check, the feasible range, and the refusal that says why."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from cost_models.rules import CostModel
from spaces.architecture import Architecture
from spaces.decision import Gate
from spaces.space import Space


class BudgetError(ValueError):
    """A budget for a cost that does not exist, or that no architecture of the space can meet."""


@dataclass(frozen=True)
class Range:
    """What a cost can be in a space: from the smallest architecture to the seed network."""

    floor: float
    seed: float


def costs_of(space: Space, models: Mapping[str, CostModel]) -> dict[str, float]:
    """Costs as the decisions of the space stand; exact."""
    with torch.no_grad():
        network = space.describe()
        return {name: model(network).item() for name, model in models.items()}


def seed_architecture(space: Space) -> Architecture:
    """The seed network: all channels, the highest precision, whole kernels, the first of alternatives."""
    picks = {name: (decision.start,) * decision.groups for name, decision in space.decisions.items()}
    return Architecture(space.name, picks, space.spec.left_alone)


def smallest(space: Space, model: CostModel) -> Architecture:
    """The cheapest uniform architecture, one channel a gate; not always at the lowest bits: unpacking takes cycles."""
    choices = [choice for name, choice in space.choices.items() if not space.spec.choices[name].branches]
    candidates = [_uniform(space, index) for index in range(max((len(c.options) for c in choices), default=1))]
    candidates = [_cheapest_branches(space, candidate, model) for candidate in candidates]
    return min(candidates, key=lambda a: at(space, a, {"": model})[""])


def _uniform(space: Space, index: int) -> Architecture:
    """One channel a gate, and of every choice the option of that index."""
    picks = {}
    for name, decision in space.decisions.items():
        if isinstance(decision, Gate):
            picks[name] = (1,) + (0,) * (decision.groups - 1)
        elif space.spec.choices[name].branches:
            picks[name] = (decision.start,)
        else:
            picks[name] = (decision.options[min(index, len(decision.options) - 1)],) * decision.groups
    return Architecture(space.name, picks, space.spec.left_alone)


def _cheapest_branches(space: Space, architecture: Architecture, model: CostModel) -> Architecture:
    """Each choice of branches in turn, until none saves anything: what is cheapest may hang on a choice inside it."""
    names = [name for name, choice in space.spec.choices.items() if choice.branches]
    best, cost = architecture, at(space, architecture, {"": model})[""]
    improved = bool(names)
    while improved:
        improved = False
        for name in names:
            for option in space.choices[name].options:
                other = best.having({name: (option,)})
                found = at(space, other, {"": model})[""]
                if found < cost:
                    best, cost, improved = other, found, True
    return best


@contextmanager
def fixed(space: Space, architecture: Architecture) -> Iterator[None]:
    """The space with its decisions set to the architecture, and as they were afterwards."""
    before = {name: {k: v.clone() for k, v in d.state_dict().items()} for name, d in space.decisions.items()}
    training = space.training
    try:
        space.eval()  # a search in training may sample; an architecture is its argmax
        space.fix(architecture)
        yield
    finally:
        space.train(training)
        for name, decision in space.decisions.items():
            decision.load_state_dict(before[name])


def at(space: Space, architecture: Architecture, models: Mapping[str, CostModel]) -> dict[str, float]:
    """Exact costs of an architecture; the space's own decisions are left as they were."""
    with fixed(space, architecture):
        return costs_of(space, models)


def ranges(space: Space, models: Mapping[str, CostModel]) -> dict[str, Range]:
    start = at(space, seed_architecture(space), models)
    floors = {name: at(space, smallest(space, model), {name: model})[name] for name, model in models.items()}
    return {name: Range(floors[name], start[name]) for name in models}


def over(costs: Mapping[str, float], budgets: Mapping[str, float]) -> dict[str, float]:
    """Costs over their budgets, by how much."""
    return {name: costs[name] - limit for name, limit in budgets.items() if costs[name] > limit}


def refuse_impossible(space: Space, models: Mapping[str, CostModel], budgets: Mapping[str, float]) -> None:
    """Raises BudgetError for a budget that even the smallest architecture exceeds: the range, each layer's floor."""
    found = ranges(space, models)
    for name, limit in budgets.items():
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
    from search.report_rows import cost_by_layer

    with fixed(space, smallest(space, model)), torch.no_grad():
        rows = cost_by_layer(model, space.describe())
    return "\n".join(f"  {name}: {value:g} {model.unit}" for name, value in rows if value)
