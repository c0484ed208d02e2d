"""An operator before fusion."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from search.integer.operators import OPERATORS, Operator

# Kinds of the graph pass that are no operators: fusing joins them to an operator or turns them into one.
NORM, ACTIVATION, PAD = "norm", "activation", "pad"


@dataclass
class Op:
    """An operator before fusion. `weight`, `bias`, `norm` are the model's own tensors and modules.

    Attributes:
        kind: of search.integer.operators, or norm, activation, pad.
        depthwise: it has as many groups as input channels, more than one, so that they live and die together.
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
    norm_module: nn.Module | None = None
    activation: tuple[str, dict[str, Any]] = ("none", {})
    depthwise: bool = False

    @property
    def operator(self) -> Operator | None:
        """The specification; None of what fusing is to join to another operator or to turn into one."""
        return OPERATORS.get(self.kind)

    @property
    def weighted(self) -> bool:
        return self.operator is not None and self.operator.weighted

    @property
    def picks(self) -> bool:
        return self.operator is not None and self.operator.picks
