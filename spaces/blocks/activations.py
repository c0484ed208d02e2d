"""Elementwise activations by name, so that a network can be rebuilt from its description alone.

"none", "relu" and "relu6" are clamps of the integer codes. Any other becomes a table of at most 256 entries.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

Activation = tuple[str, dict[str, Any]]  # a name out of ACTIVATIONS, and its arguments

CLAMPS = ("none", "relu", "relu6")

ACTIVATIONS: dict[str, Callable[..., Tensor]] = {
    "none": lambda x: x,
    "relu": F.relu,
    "relu6": F.relu6,
    "hardtanh": F.hardtanh,
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "silu": F.silu,
    "gelu": F.gelu,
    "mish": F.mish,
    "elu": F.elu,
    "selu": F.selu,
    "celu": F.celu,
    "softplus": F.softplus,
    "softsign": F.softsign,
    "leaky_relu": F.leaky_relu,
    "scale": lambda x, factor, offset: x * factor + offset,  # arithmetic with a number: x / 6, x + 3
}


def activate(x: Tensor, activation: Activation) -> Tensor:
    name, arguments = activation
    return ACTIVATIONS[name](x, **arguments)


def moves_zero(activation: Activation) -> bool:
    """Whether f(0) is not 0, so that a closed channel must be masked once more after it."""
    return activate(torch.zeros(()), activation).item() != 0.0
