"""First steps of the quantizers, from the tensors that they will quantize (docs/methods.md, section 4)."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log2
from typing import Any

import torch
from torch import Tensor

METHODS = ("lsq", "minmax", "mse")
RATIOS = torch.linspace(0.3, 1.0, 29)  # of the min-max range of weights, tried by `mse`
ENOUGH = 1024  # weights of a row that `mse` looks at
IN_CACHE = 2**15  # weights that it looks at together
FEW = 2**14  # values of a sample that a first search looks at
COARSE, FINE = 2, 24  # ranges that are tried for each halving
HALVINGS = 64  # of a range, at most
ROUNDS = 2


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
    every = -(-rows.shape[1] // ENOUGH)
    few = rows[:, :: every | 1 if every > 1 else 1]  # odd, or it would meet the same taps of each kernel
    at_once = max(1, IN_CACHE // few.shape[1])
    parts = zip(few.split(at_once), widest.split(at_once), bound.split(at_once), strict=True)
    return widest * torch.cat([_best_ratios(*part) for part in parts])


def _best_ratios(rows: Tensor, widest: Tensor, bound: Tensor) -> Tensor:
    """(C,), by which the widest steps have to shrink for the least squared error."""
    codes, ratios = rows / widest[:, None], RATIOS.to(rows)
    alike = bool((bound == bound[0]).all())
    limit = bound[0].item() if alike else bound[:, None]  # numbers are clipped to several times as fast as to tensors
    # in units of the widest step, so that no square leaves the range of floats
    errors = torch.stack([_error(codes, ratio, -limit, limit).sum(1) for ratio in ratios])
    return ratios[errors.argmin(0)]


@dataclass(frozen=True)
class Sample:
    """Values that were seen at one place of a network.

    Attributes:
        rows: (N, k) each: k values of each of N examples.
        low, high: the extremes of all values, which need not be among them.
    """

    rows: Sequence[Tensor]
    low: float
    high: float

    def clamp(self, low: float | None, high: float | None) -> "Sample":
        """The sample as it is behind a clamp, of which None is no bound."""
        if low is None and high is None:
            return self
        ends = (torch.tensor(end, dtype=torch.float64).clamp(low, high).item() for end in (self.low, self.high))
        return Sample([rows.clamp(low, high) for rows in self.rows], *ends)

    def every(self, step: int) -> "Sample":
        """The sample with every step-th of the values of each example."""
        return Sample([rows[:, ::step] for rows in self.rows], self.low, self.high)

    def best(self, ranges: Sequence[tuple[float, float]], top: int) -> tuple[float, float]:
        """The range, (low, high), of least error; the first one of equals. The device is waited for once.

        The error is the norm of the error of rounding, over that of the values, of each example, summed up. So all
        examples count alike, and those with a few values far beyond all others cannot outweigh these.
        """
        tried = [ends for ends in ranges if ends[0] != ends[1]]  # others are no range at all
        if not tried:
            return ranges[0]
        each = torch.stack([self._errors(low, high, top) for low, high in tried]).tolist()
        return min(zip(map(sum, each), tried, strict=True), key=lambda found: found[0])[1]

    def _errors(self, low: float, high: float, top: int) -> Tensor:
        """(batches,), the error of a range, summed up over the examples of each batch."""
        step, zero = _grid(low, high, top)
        each = []
        for rows in self.rows:
            found = _error(rows, rows.new_full((), step), -zero, top - zero).sum(1)
            each.append((found / rows.square().sum(1)).nan_to_num_(0.0).sqrt_().sum())  # 0 / 0: nothing is lost
        return torch.stack(each)


def activation_range(sample: Sample, bits: int, method: str, nonnegative: bool) -> tuple[float, int]:
    """Step and zero point for unsigned codes of `bits` bits.

    Args:
        nonnegative: whether the tensor comes out of a ReLU. The zero point is then 0.
    """
    top = 2**bits - 1
    low = 0.0 if nonnegative else min(sample.low, 0.0)
    high = max(sample.high, 0.0)
    if high == low:  # nothing but zeros, which any step has
        return 1.0, 0 if nonnegative else (top + 1) // 2
    if method == "lsq" and nonnegative:
        mean = torch.cat([rows.flatten() for rows in sample.rows]).abs().double().mean().item()
        return (2 * mean / top**0.5 if mean > 0 else high / top), 0  # 0: the few values over 0 were not kept
    if method != "minmax":
        low, high = _narrowed(sample, low, high, top)
    return _grid(low, high, top)


def _grid(low: float, high: float, top: int) -> tuple[float, int]:
    step = (high - low) / top
    return step, round(-low / step)


def _narrowed(sample: Sample, low: float, high: float, top: int) -> tuple[float, float]:
    """The range of least error within a range: first by coarse steps, each end by itself, then by fine ones.

    It begins at the ends of the example in the middle, so an end that a few examples have to themselves misleads no
    other. Of ranges with the same error it is the widest.
    """
    sample = Sample([rows.double() for rows in sample.rows], sample.low, sample.high)  # squares of floats fit in
    few = sample.every(max(1, sum(rows.numel() for rows in sample.rows) // FEW))
    narrow = torch.cat([rows.amin(1) for rows in sample.rows]).median().clamp(low, 0).item()
    wide = torch.cat([rows.amax(1) for rows in sample.rows]).median().clamp(0, high).item()

    for _ in range(ROUNDS):
        narrow, wide = few.best([(narrow, end) for end in _ends(high, wide)], top)
        narrow, wide = few.best([(end, wide) for end in _ends(low, narrow)], top)
    fine = [2 ** (-k / FINE) for k in range(1 - FINE // COARSE, FINE // COARSE)]
    narrow, wide = sample.best([(narrow, min(high, wide * ratio)) for ratio in fine], top)
    return sample.best([(max(low, narrow * ratio), wide) for ratio in fine] if narrow else [(narrow, wide)], top)


def _ends(extreme: float, usual: float) -> list[float]:
    """Ends of a range, from an extreme to a fraction of what is usual, from the widest to the narrowest."""
    if extreme == 0:
        return [0.0]
    halvings = min(HALVINGS, ceil(log2(extreme / usual)) + 2 if usual else HALVINGS)
    return [extreme * 2 ** (-k / COARSE) for k in range(COARSE * halvings + 1)]


def _error(x: Tensor, step: Tensor, low: Any, high: Any) -> Tensor:
    """Squared error of rounding. low, high: numbers, or tensors that broadcast against x."""
    return (x / step).round_().clamp_(low, high).mul_(step).sub_(x).square_()
