"""What a cost model is, and how it finds the rule of an operator."""

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from cost_models.layer import LayerUse, Network, UnsupportedLayer

LayerRule = Callable[[LayerUse], Tensor | float]
Rule = TypeVar("Rule")


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


def rule_for(model: str, rules: Mapping[str, Rule], layer: LayerUse) -> Rule:
    """The rule of layer.op.

    Raises:
        UnsupportedLayer: there is none.
    """
    if layer.op not in rules:
        raise UnsupportedLayer(
            f"{model}: layer '{layer.name}' has op '{layer.op}'; rules exist for {', '.join(rules)}. "
            f"Add a rule in cost_models/ or take {model} out of the costs and budgets."
        )
    return rules[layer.op]


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
