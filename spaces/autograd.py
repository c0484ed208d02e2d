"""Autograd functions of our own, called with a type, since torch leaves `apply` without one."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from search.errors import UsageError


def applied(function: type[Function], *arguments: Any) -> Tensor:
    """function.apply(*arguments)."""
    made: Tensor = function.apply(*arguments)
    return made


def applied_for_many(function: type[Function], *arguments: Any) -> tuple[Tensor, ...]:
    """function.apply(*arguments), where it returns several tensors."""
    made: tuple[Tensor, ...] = function.apply(*arguments)
    return made


def refuse_second_derivatives() -> None:
    """To be called first in a backward pass whose gradients have no graph of their own.

    Raises:
        UsageError: they are asked for with one (create_graph=True).
    """
    if torch.is_grad_enabled():
        raise UsageError(
            "gradients of quantized layers were asked for with create_graph=True. They are straight-through estimates, "
            "which have no derivatives: take the penalty of a float network, or leave it out."
        )


def straight_through(through: Tensor, value: Tensor) -> Tensor:
    """`value`, exactly, with the gradient of `through`."""
    return applied(_Straight, through, value)


class _Straight(Function):
    """The value of the second argument, to the bit, with the gradient going to the first."""

    @staticmethod
    def forward(ctx: Any, through: Tensor, value: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None
