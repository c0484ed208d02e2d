"""What a cost model is, and how it finds the rule of an operator."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from cost_models.layer import LayerUse, Network, UnsupportedLayer
from search.integer.traits import Work

Rule = Callable[[LayerUse, Network], Tensor | float]
Rules = Mapping[Work | str, Rule]  # key: the name of an operator that is special, or the work that operators do

WITHOUT_PRODUCTS = (Work.SUM, Work.PRODUCT, Work.WINDOW, Work.REDUCTION, Work.LOOK_UP, Work.COPY, Work.NOTHING)


class CostModel(Protocol):
    """A pure, differentiable function of a network."""

    @property
    def name(self) -> str:
        """Key under which budgets and results list the cost."""

    @property
    def unit(self) -> str:
        """Unit of the figure."""

    @property
    def source(self) -> str:
        """Where the formula or the table comes from."""

    def __call__(self, network: Network) -> Tensor:
        """(), float64. Raises UnsupportedLayer where an operator has no rule."""


def summed(model: str, rules: Rules, network: Network) -> Tensor:
    """(), the sum over all layers of what their rules say, each as often as it runs, or the probability that it does.

    Raises:
        UnsupportedLayer: a layer's operator is unknown, or there is no rule for it and none for its work.
    """
    each = ((layer, _rule(model, rules, layer)(layer, network)) for layer in network.layers)
    return total(network.weighed(layer, cost * layer.times if layer.times > 1 else cost) for layer, cost in each)


def _rule(model: str, rules: Rules, layer: LayerUse) -> Rule:
    work = layer.operator.work
    rule = rules.get(layer.op) or rules.get(work)
    if rule is None:
        known = ", ".join(key if isinstance(key, str) else key.name for key in rules)
        raise UnsupportedLayer(
            f"{model}: layer '{layer.name}' has op '{layer.op}', whose work is {work.name}; rules exist for {known}. "
            f"Add a rule in cost_models/ or take {model} out of the costs and budgets."
        )
    return rule


def nothing(layer: LayerUse, network: Network) -> float:
    """The rule for work that is no part of the cost."""
    return 0.0


def total(terms: Iterable[Tensor | float]) -> Tensor:
    """Sum of 0-d tensors and plain numbers, as a 0-d float64 tensor."""
    constant, tensors = 0.0, []
    for term in terms:
        if isinstance(term, Tensor):
            tensors.append(term)
        else:
            constant += term
    if not tensors:
        return torch.tensor(constant, dtype=torch.float64)
    return torch.stack(tensors).sum() + constant


def stacked(terms: Sequence[Tensor | float], like: Tensor) -> Tensor:
    """(n,), 0-d tensors and plain numbers in one tensor, of the type and on the device of another."""
    if not any(isinstance(term, Tensor) for term in terms):
        return like.new_tensor(terms)
    return torch.stack([term if isinstance(term, Tensor) else like.new_tensor(term) for term in terms])
