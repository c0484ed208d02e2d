"""First steps of the quantizers, from the tensors that they will quantize (docs/methods.md, section 4)."""

from typing import Any

import torch
from torch import Tensor

METHODS = ("lsq", "minmax", "mse")
RATIOS = torch.linspace(0.3, 1.0, 29)  # of the min-max range, tried by `mse`


def weight_steps(rows: Tensor, bound: Tensor, method: str) -> Tensor:
    """A step for each row, for symmetric codes in [-bound, bound].

    "lsq" is 2 mean|w| / sqrt(bound) (arXiv 1902.08153, section 2.1). "minmax" is max|w| / bound. "mse" is the step of
    least squared error among shrunk minmax steps (arXiv 2106.08295, section 3.1).

    Args:
        rows: (C, F); bound: (C,).

    Returns:
        (C,), positive.
    """
    smallest = torch.finfo(rows.dtype).tiny * 2**24
    bound = bound.to(rows.dtype)
    if method == "lsq":
        return (2 * rows.abs().mean(1) / bound.sqrt()).clamp_min(smallest)
    widest = (rows.abs().amax(1) / bound).clamp_min(smallest)
    if method == "minmax":
        return widest
    steps = widest * RATIOS.to(rows)[:, None]  # (R, C)
    limit = bound[:, None]
    errors = torch.stack([_error(rows, s[:, None], -limit, limit, 1) for s in steps])
    return steps.gather(0, errors.argmin(0)[None])[0]


def activation_range(sample: Tensor, bits: int, method: str, nonnegative: bool) -> tuple[float, int]:
    """Step and zero point for unsigned codes of `bits` bits.

    Args:
        sample: (n,), values that were seen at this place.
        nonnegative: whether the tensor comes out of a ReLU. The zero point is then 0.
    """
    top = 2**bits - 1
    low = 0.0 if nonnegative else min(sample.min().item(), 0.0)
    high = max(sample.max().item(), 0.0)
    if high - low < 1e-8:
        return 1e-3, 0 if nonnegative else (top + 1) // 2
    if method == "lsq" and nonnegative:
        return 2 * sample.abs().mean().item() / top**0.5, 0
    ratios = [1.0] if method == "minmax" else [r.item() for r in RATIOS]
    tried: list[tuple[float, float, int]] = []  # error, step, zero point
    for ratio in ratios:
        step = (high - low) * ratio / top
        zero = round(-low * ratio / step)
        error = _error(sample, sample.new_tensor(step), -zero, top - zero, 0).item()
        tried.append((error, step, zero))
    _, step, zero = min(tried, key=lambda one: one[0])
    return step, zero


def _error(x: Tensor, step: Tensor, low: Any, high: Any, dim: int) -> Tensor:
    """Squared error of rounding, summed along a dimension. low, high: numbers, or tensors that broadcast against x."""
    codes = (x / step).round().clamp(low, high)
    return (codes * step - x).square().sum(dim)
