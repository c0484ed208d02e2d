"""Costs that rise in steps, and costs that are whole numbers."""

from torch import Tensor

from search.errors import UsageError


def ceil(x: Tensor) -> Tensor:
    """Rounds up. The gradient is that of x itself (straight-through), so ceil(n / 8) has slope 1/8."""
    return x + (x.ceil() - x).detach()


def used(count: Tensor) -> Tensor:
    """(), 1 where the count is over 0. The gradient shares it evenly among all that are counted."""
    return (count.detach() > 0) + (count - count.detach()) / count.detach().clamp(min=1.0)


def exact(cost: Tensor) -> int:
    """The cost of a decided network as an integer.

    Raises:
        UsageError: the cost is no whole number.
    """
    value = float(cost.detach())
    if not value.is_integer():
        raise UsageError(
            f"cost {value!r} is not an integer; exact figures need a decided network: "
            "whole channels, one-hot shares and a cost that counts bytes, parameters or MACs."
        )
    return int(value)
