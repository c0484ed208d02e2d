"""Integer arithmetic on NumPy arrays: quantization and requantization.

Requantization is the only rounding in a Program. An accumulator acc (int32 range) becomes a code by a signed 16-bit
multiplier m and a shift 1 <= n <= 62. It is rounded half up, once (docs/methods.md, section 5):

    code = clip(((acc * m + 2^(n-1)) >> n) + zero_point, low, high)                                   (>> floors)

Here acc = sum + bias, and the code is floor(sum * M + offset) with M = m * 2^-n, offset = bias * M + 1/2, in float64.
It is exact: M is exact, since m has 15 bits, and with |sum|, |bias| < 2^31 each product is a multiple of 2^-n below
2^(46-n).
- n <= 52: offset and total are multiples of 2^-n below 2^(47-n) + 1/2 <= 2^(53-n): at most 53 bits, nothing is rounded.
- n >= 53: |acc * M| < 2^-6, so both sides are 0, and rounding cannot carry the total, near 1/2, to 0 or 1.
"""

from collections.abc import Sequence
from functools import cache
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.errors import UsageError

EXACT_FLOAT32 = 1 << 24  # every integer of at most this magnitude is a float32
PERIOD = 1024  # elements over which a requantization's constants are repeated
BLOCK = 1 << 15  # elements requantized at a time: a total takes eight bytes each

Array = NDArray[Any]
Attributes = dict[str, Any]


class Scratch:
    """Working memory of one thread: a buffer for each role, which grows to the largest request and is reused."""

    def __init__(self) -> None:
        self._buffers: dict[str, NDArray[np.uint8]] = {}

    def take(self, role: str, shape: Sequence[int], dtype: Any) -> Array:
        """An array of that shape with arbitrary content. It is valid until the role is taken again."""
        size = prod(shape) * np.dtype(dtype).itemsize
        if role not in self._buffers or self._buffers[role].size < size:
            self._buffers[role] = np.empty(size, np.uint8)
        array: Array = self._buffers[role][:size].view(dtype).reshape(shape)
        return array


def accumulator_dtype(smallest_sum: int, largest_sum: int) -> Any:
    """float32 if it holds every partial sum exactly, float64 otherwise.

    Args:
        smallest_sum: the sum of all negative products at the largest codes. No partial sum, in any order, is below it.
        largest_sum: the sum of all positive products at the largest codes. No partial sum is above it.
    """
    return np.float32 if max(-smallest_sum, largest_sum) <= EXACT_FLOAT32 else np.float64


def real_multiplier(multiplier: Array, shift: Array) -> Array:
    """m * 2^-n in float64, exact."""
    return np.ldexp(multiplier.astype(np.float64), -shift.astype(np.int32))


def quantize(values: Array, scale: float, zero_point: int, largest_code: int) -> Array:
    """clip(floor(x / scale + 1/2) + zero_point, 0, largest_code), every step in float32.

    Args:
        values: (*shape), real.

    Returns:
        (*shape), codes in float32.

    Raises:
        UsageError: there is NaN or infinity, which have no code.
    """
    with np.errstate(over="ignore"):  # a quotient beyond float32 is clipped as any other
        codes: Array = values.astype(np.float32)
        if not np.isfinite(codes).all():
            raise UsageError("input: NaN or infinity found (as float32); finite values expected. Clean the data first.")
        codes /= np.float32(scale)
    codes += np.float32(0.5)
    np.floor(codes, out=codes)
    codes += np.float32(zero_point)
    np.clip(codes, 0, largest_code, out=codes)
    return codes


class Repeated:
    """Constants of the last axis, (.., channels), repeated so that they meet many pixels in one inner loop of NumPy."""

    def __init__(self, values: Array, length: int) -> None:
        """Repeats values up to about `length` elements."""
        self._channels, self._pixels = values.shape[-1], max(1, length // values.shape[-1])
        self._values = np.tile(values, self._pixels)

    def fold(self, size: int) -> Array:
        """As many repetitions as divide a run of size elements: (.., k * channels)."""
        return self._values[..., : _largest_divisor(size // self._channels, self._pixels) * self._channels]


@cache
def _largest_divisor(number: int, limit: int) -> int:
    return next(divisor for divisor in range(min(number, limit), 0, -1) if number % divisor == 0)


class Requantizer:
    """Accumulators to codes: the formula above, its clip, and the table of an activation behind it."""

    def __init__(self, scale: Array, shift: int, addend: Array, finish: "Finish") -> None:
        """Prepares the constants.

        Args:
            scale: (channels,) or (1,), M.
            shift: the largest n in it.
            addend: of the shape of scale, integers that the accumulators lack: the bias or the zero points.
        """
        # The zero point joins the offset if the total still has at most 53 bits; truncation then replaces the floor.
        self._early = (1 << 47) + ((abs(finish.zero_point) + 1) << shift) <= 1 << 53
        self._scale = Repeated(scale, PERIOD)
        self._offset = Repeated(addend * scale + 0.5 + (finish.zero_point if self._early else 0), PERIOD)
        self._finish = finish

    def __call__(self, accumulator: Array, out: Array, scratch: Scratch) -> None:
        """Writes codes.

        Args:
            accumulator: (*any, channels), integers in float32 or float64, contiguous.
            out: codes, as many elements.
        """
        factors = self._scale.fold(accumulator.size), self._offset.fold(accumulator.size)
        runs = accumulator.reshape(-1, len(factors[0]))
        if not out.flags.c_contiguous:
            self._finish.write(self._totals(runs, factors, scratch).reshape(out.shape), out)
            return
        codes, step = out.reshape(runs.shape), max(1, BLOCK // runs.shape[1])
        for start in range(0, len(runs), step):
            block = slice(start, start + step)
            self._finish.write(self._totals(runs[block], factors, scratch), codes[block])

    def _totals(self, runs: Array, factors: tuple[Array, Array], scratch: Scratch) -> Array:
        """acc * M + offset, zero point included, in float64. runs: (n, length of the factors)."""
        scale, offset = factors
        total = scratch.take("total", runs.shape, np.float64)
        np.copyto(total, runs)  # then a float64 product: faster than a product of mixed types
        total *= scale
        total += offset
        if not self._early:
            np.floor(total, out=total)
            total += self._finish.zero_point
        return total


class Finish:
    """The end of a requantization: zero point, clip, and table if the node has one."""

    def __init__(self, attributes: Attributes, table: Array | None) -> None:
        low, high = attributes["clip"]
        origin = 0 if table is None else low  # a table is indexed from the clip's low end
        self.zero_point = int(attributes["zero_point"]) - origin
        self._low, self._high = low - origin, high - origin
        self._table = table

    def write(self, total: Array, out: Array) -> None:
        """Clips real totals (overwritten) to codes or table indices, >= 0, so that truncation floors. Writes codes."""
        np.clip(total, self._low, self._high, out=total)
        if self._table is None:
            np.copyto(out, total, casting="unsafe")
        else:
            out[...] = self._table[total.astype(np.intp)]
