"""An operator before fusion."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from search.integer.operators import OPERATORS, Operator
from search.integer.traits import Border
from spaces.graph.view import View

# Kinds of the graph pass that are no operators: fusing joins them to an operator or turns them into one.
NORM, ACTIVATION, PAD = "norm", "activation", "pad"


@dataclass(frozen=True)
class NormNumbers:
    """What a batch norm holds: running statistics, scale and offset if it has them, all (C,), eps and momentum.

    Attributes:
        statistics: whether it normalises; else mean is 0 and variance 1.
        constant: which of "weight" and "bias" are no parameters at all.
    """

    mean: Tensor
    variance: Tensor
    weight: Tensor | None
    bias: Tensor | None
    eps: float
    momentum: float
    statistics: bool = True
    constant: tuple[str, ...] = ()

    @staticmethod
    def affine(weight: Tensor, bias: Tensor, constant: tuple[str, ...]) -> "NormNumbers":
        """weight * x + bias, which measures nothing."""
        none = torch.zeros(len(bias))
        return NormNumbers(none, none + 1, weight, bias, eps=0.0, momentum=0.0, statistics=False, constant=constant)

    @staticmethod
    def offset(bias: Tensor) -> "NormNumbers":
        return NormNumbers.affine(torch.ones(len(bias)), bias, ("weight",))


@dataclass
class Op:
    """An operator before fusion. `weight`, `bias` and `norm_numbers` are the model's own tensors.

    Attributes:
        kind: a name in search.integer.operators, or norm, activation or pad.
        fixed: whether no training changes its weights, which keep the highest precision.
        depthwise: whether it has as many groups as input channels, and more than one. They live and die together.
        values: of a constant in the graph, of its shape; frozen_values: whether no training changes them.
        view: how the user's tensor lies in the output; None: as it is.
        note: what was done to its parameters, where they are not simply the model's.
        loop: the name of the loop that it is in; "": in none.
        bits: that its codes have, whatever is on offer; 0: what is on offer.
    """

    kind: str
    name: str
    where: str
    inputs: list[str]
    shape: tuple[int, ...]  # as it is stored, without the batch
    attributes: dict[str, Any] = field(default_factory=dict)
    weights: str | None = None
    weight: Tensor | None = None
    bias: Tensor | None = None
    norm: str | None = None
    norm_numbers: NormNumbers | None = None
    activation: tuple[str, dict[str, Any]] = ("none", {})
    depthwise: bool = False
    values: Tensor | None = None
    frozen_values: bool = False
    fixed: bool = False
    view: View | None = None
    note: str = ""
    loop: str = ""
    bits: int = 0

    def weight_shape(self) -> tuple[int, ...]:
        """(C_out, C_in / groups, *kernel) of an operator that has weights."""
        assert self.weight is not None, self.name
        return tuple(self.weight.shape)

    def norm_settings(self) -> dict[str, Any]:
        """eps and momentum of the batch norm that has joined the operator, and its parameters that the model froze."""
        norm = self.norm_numbers
        assert norm is not None, self.name
        frozen = (*norm.constant, *_frozen(norm.weight, norm.bias))
        settings = {"eps": norm.eps, "momentum": norm.momentum} | ({"constant": frozen} if frozen else {})
        return settings if norm.statistics else settings | {"statistics": False}

    def frozen(self) -> tuple[str, ...]:
        """Which of "weight" and "bias" are parameters that the model froze."""
        return ("weight",) if self.fixed else _frozen(self.weight, self.bias)

    @property
    def reads(self) -> list[str]:
        """Its inputs, and what it carries from one place of a sequence to the next."""
        carries = self.operator is not None and self.operator.loops is Border.CARRY
        return [*self.inputs, self.attributes["next"]] if carries else self.inputs

    @property
    def operator(self) -> Operator | None:
        """The specification; None for what fusing joins to another operator or turns into one."""
        return OPERATORS.get(self.kind)

    @property
    def weighted(self) -> bool:
        return self.operator is not None and self.operator.weighted

    @property
    def picks(self) -> bool:
        return self.operator is not None and self.operator.picks


def _frozen(weight: Tensor | None, bias: Tensor | None) -> tuple[str, ...]:
    each = (("weight", weight), ("bias", bias))
    return tuple(name for name, t in each if isinstance(t, nn.Parameter) and not t.requires_grad)
