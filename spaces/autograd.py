"""Autograd functions of our own, called with a type, since torch leaves `apply` without one."""

from typing import Any

from torch import Tensor
from torch.autograd import Function


def applied(function: type[Function], *arguments: Any) -> Tensor:
    """function.apply(*arguments)."""
    made: Tensor = function.apply(*arguments)
    return made


def applied_for_many(function: type[Function], *arguments: Any) -> tuple[Tensor, ...]:
    """function.apply(*arguments), where it returns several tensors."""
    made: tuple[Tensor, ...] = function.apply(*arguments)
    return made
