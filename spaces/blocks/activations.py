"""Elementwise activations by name, so that a network can be rebuilt from its description alone.

"none", "relu" and "relu6" are clamps of the integer codes. Any other becomes a table of at most 256 entries.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

Activation = tuple[str, dict[str, Any]]  # a name out of ACTIVATIONS, and its arguments

CLAMPS = ("none", "relu", "relu6")
COMPOSED = "composed"
TINY = 2.0**-100  # below it a number counts as 0, where functions have no value or no slope at 0


def _composed(x: Tensor, steps: Sequence[Mapping[str, Any]]) -> Tensor:
    """What the steps make of a tensor.

    Args:
        steps: each with the "name" of an activation or of arithmetic, the places "of" what it reads, and "arguments".
            Place 0 is the tensor, place n the result of the nth step.
    """
    values = [x]
    for step in steps:
        function = ARITHMETIC.get(step["name"]) or ACTIVATIONS[step["name"]]
        values.append(function(*[values[place] for place in step["of"]], **step["arguments"]))
    return values[-1]


def _away_from_zero(x: Tensor) -> Tensor:
    """Where a function is steep beyond all bounds it is flat instead: zeros, as of closed channels, do no harm then."""
    return torch.where(x.abs() < TINY, torch.where(x < 0, -TINY, TINY).to(x.dtype), x)


def _above_zero(x: Tensor) -> Tensor:
    return x.clamp_min(TINY)


def _power(x: Tensor, exponent: float) -> Tensor:
    if exponent >= 1 and exponent.is_integer():
        return x**exponent
    if exponent.is_integer():
        return _away_from_zero(x) ** exponent
    return _above_zero(x) ** exponent


ARITHMETIC: dict[str, Callable[..., Tensor]] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": lambda a, b: a / _away_from_zero(b),
}

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
    "softsign": F.softsign,  # in files of earlier versions; it is composed now
    "leaky_relu": F.leaky_relu,
    "abs": torch.abs,
    "square": torch.square,
    "power": _power,
    "exp": torch.exp,
    "expm1": torch.expm1,
    "log": lambda x: _above_zero(x).log(),
    "sqrt": lambda x: torch.where(x > TINY, _above_zero(x).sqrt(), 0.0).to(x.dtype),
    "rsqrt": lambda x: _above_zero(x).rsqrt(),
    "reciprocal": lambda x: 1 / _away_from_zero(x),
    "erf": torch.erf,
    "sin": torch.sin,
    "cos": torch.cos,
    "log_sigmoid": F.logsigmoid,
    "hardshrink": torch.hardshrink,
    "softshrink": F.softshrink,
    "threshold": F.threshold,
    "le": lambda x, other: (x <= other).to(x.dtype),
    "lt": lambda x, other: (x < other).to(x.dtype),
    "ge": lambda x, other: (x >= other).to(x.dtype),
    "gt": lambda x, other: (x > other).to(x.dtype),
    COMPOSED: _composed,
    "scale": lambda x, factor, offset: x * factor + offset,  # arithmetic with a number: x / 6, x + 3
}


def activate(x: Tensor, activation: Activation) -> Tensor:
    name, arguments = activation
    return ACTIVATIONS[name](x, **arguments)


def moves_zero(activation: Activation) -> bool:
    """Whether f(0) is not 0, so that a closed channel must be masked once more after it."""
    return activate(torch.zeros(()), activation).item() != 0.0
