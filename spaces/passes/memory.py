"""How the numbers of a tensor lie in memory, and which tensors are taken by passes that meet them in that order."""

import torch
from torch import Tensor

from spaces.passes.passes import Sum

LARGEST = 2**31 - 2**16  # numbers of a tensor; places in it are int32 on a GPU


def takes(x: Tensor) -> bool:
    """Whether x is plain float32, all of whose numbers lie side by side."""
    if type(x) is not Tensor or x.dtype is not torch.float32:
        return False
    return x.numel() > 0 and (x.is_cpu or x.numel() < LARGEST) and order_of(x) is not None


def takes_vector(numbers: Tensor, device: torch.device) -> bool:
    """Whether they can be read beside a tensor on the device: float32, one behind another."""
    return numbers.dtype is torch.float32 and numbers.device == device and numbers.is_contiguous()


def order_of(x: Tensor) -> torch.memory_format | None:
    """The order in which its numbers lie side by side; None where there are gaps, or another order."""
    if x.is_contiguous():
        return torch.contiguous_format
    for dims, order in ((4, torch.channels_last), (5, torch.channels_last_3d)):
        if x.dim() == dims and x.is_contiguous(memory_format=order):
            return order
    return None


def in_order(x: Tensor, order: torch.memory_format | None) -> Tensor:
    """x in an order of memory. None: as it is."""
    if order is None or order_of(x) is order:
        return x
    return torch.empty_like(x, memory_format=order).copy_(x)


def lies_alike(added: Sum) -> bool:
    """Whether what is added lies as x does."""
    x, plus = added
    if plus is None or plus.dim() == 1:
        return True
    return plus.shape == x.shape and order_of(plus) is order_of(x)
