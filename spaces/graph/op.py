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

    def norm_settings(self) -> dict[str, Any]:
        """eps and momentum of the batch norm that has joined the operator, and its parameters that the model froze."""
        norm = self.norm_module
        assert norm is not None and norm.momentum is not None, self.name
        frozen = _frozen(norm.weight, norm.bias)
        return {"eps": norm.eps, "momentum": norm.momentum} | ({"constant": frozen} if frozen else {})

    def frozen(self) -> tuple[str, ...]:
        """Which of "weight" and "bias" are parameters that the model froze."""
        return _frozen(self.weight, self.bias)

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
