"""From real scales to fixed-point integers, in torch: the twin of `search/integer/kernels.py`, kept apart on purpose.

Two implementations of one rule, which the tests compare element by element, are worth more than one that is called
twice. The rule is code = clip(((acc * m + 2^(n-1)) >> n) + z, lo, hi), with m a signed 16-bit integer and n in 1..62.
"""

import torch
from torch import Tensor

MULTIPLIER_BITS = 15  # magnitude; the sign carries that of a negative batch-norm scale
LARGEST = 2**MULTIPLIER_BITS - 1  # magnitude of a multiplier
MAX_SHIFT = 62
MAX_BIAS = 2.0**30
INT32_MAX = 2**31 - 1
FLOAT32_EXACT = 2**24  # integers up to here are exact in float32


def multiplier_and_shift(ratio: Tensor) -> tuple[Tensor, Tensor]:
    """Integers m and n with M ~ m / 2^n, as precise as 15 bits allow.

    A factor of 2^14 or more, as of a tensor that is nearly 0 everywhere, becomes the largest that there is. It takes a
    sum of 1 beyond all 8-bit codes, as the larger one would.

    Args:
        ratio: (C,) float64.

    Returns:
        m (C,) int64 with 2^14 <= |m| < 2^15 (less where M < 2^-48; 0 where M is 0), n (C,) int64 in 1..62.
    """
    _, exponent = torch.frexp(ratio.double())  # |mantissa| in [0.5, 1)
    shift = (MULTIPLIER_BITS - exponent.long()).clamp_max(MAX_SHIFT)
    m = torch.round(torch.ldexp(ratio.double(), shift)).long()
    full = m.abs() >= 2**MULTIPLIER_BITS  # rounded up to 2^15: halve
    m, shift = torch.where(full, m // 2, m), torch.where(full, shift - 1, shift)
    m, shift = torch.where(shift < 1, ratio.sign().long() * LARGEST, m), shift.clamp_min(1)
    return m, torch.where(m == 0, torch.ones_like(shift), shift)


def with_bias(ratio: Tensor, constant: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """m, n and an integer b with (sum + b) * m / 2^n ~ sum * ratio + constant.

    Where the ratio is so small that b would not fit in 30 bits, the channel is nearly a constant. The multiplier is
    then raised until b fits.

    Args:
        ratio: (C,) float64.
        constant: (C,) float64, what the channel gives where the sum is 0, in output steps.

    Returns:
        m, n, b: (C,) int64.
    """
    raised = torch.where(ratio < 0, -1.0, 1.0) * torch.maximum(ratio.abs(), constant.abs() / MAX_BIAS)
    multiplier, shift = multiplier_and_shift(raised)
    real = torch.ldexp(multiplier.double(), -shift)
    bias = torch.where(real == 0, 0.0, constant / real).round().clamp(-MAX_BIAS, MAX_BIAS).long()
    return multiplier, shift, bias


def common_shift(ratios: Tensor) -> tuple[Tensor, Tensor]:
    """(k,) ratios to (k,) multipliers with one shift (1,), such that the largest has 15 bits."""
    _, shift = multiplier_and_shift(ratios.abs().max().reshape(1))
    return torch.round(torch.ldexp(ratios.double(), shift)).clamp(-LARGEST, LARGEST).long(), shift


def requantize(acc: Tensor, multiplier: Tensor, shift: Tensor) -> Tensor:
    """(acc * m + 2^(n-1)) >> n in int64, which rounds half up, once. m and n broadcast against acc."""
    half = torch.ones_like(shift) << (shift - 1)
    return (acc * multiplier + half) >> shift


def exact_dtype(bound: float) -> torch.dtype:
    """The float type in which sums of magnitude up to `bound` are exact integers."""
    return torch.float32 if bound < FLOAT32_EXACT else torch.float64
