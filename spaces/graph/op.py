"""An operator before fusion."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn


@dataclass
class Op:
    """An operator before fusion. `weight`, `bias`, `norm` are the model's own tensors and modules."""

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
