"""An operator before fusion."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from search.integer.operators import OPERATORS, Operator

# Kinds of the graph pass that are no operators: fusing joins them to an operator or turns them into one.
NORM, ACTIVATION, PAD = "norm", "activation", "pad"


BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d


@dataclass
class Op:
    """An operator before fusion. `weight`, `bias`, `norm` are the model's own tensors and modules.

    Attributes:
        kind: a name in search.integer.operators, or norm, activation or pad.
        depthwise: whether it has as many groups as input channels, and more than one. They live and die together.
    """

    kind: str
    name: str
    where: str
    inputs: list[str]
    shape: tuple[int, ...]  # without the batch
    attributes: dict[str, Any] = field(default_factory=dict)
    weights: str | None = None
    weight: Tensor | None = None
    bias: Tensor | None = None
    norm: str | None = None
    norm_module: BatchNorm | None = None
    activation: tuple[str, dict[str, Any]] = ("none", {})
    depthwise: bool = False

    def weight_shape(self) -> tuple[int, ...]:
        """(C_out, C_in / groups, *kernel) of an operator that has weights."""
        assert self.weight is not None, self.name
        return tuple(self.weight.shape)

    def norm_settings(self) -> dict[str, float]:
        """eps and momentum of the batch norm that has joined the operator."""
        assert self.norm_module is not None and self.norm_module.momentum is not None, self.name
        return {"eps": self.norm_module.eps, "momentum": self.norm_module.momentum}

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
