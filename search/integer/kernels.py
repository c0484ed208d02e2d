"""Integer arithmetic on NumPy arrays: quantization, requantization, and the sliding windows of a convolution.

Requantization, the only rounding in a Program. An accumulator acc (int32 range) becomes a code by a signed 16-bit multiplier m
and a shift 1 <= n <= 62, half up, rounded once:

    code = clip(((acc * m + 2^(n-1)) >> n) + zero_point, low, high)                                   (>> floors)

Here acc = sum + bias, and the code is floor(sum * M + offset) with M = m * 2^-n and offset = bias * M + 1/2 in float64. It is exact:
M is, m having 15 bits, and |sum|, |bias| < 2^31 make each product a multiple of 2^-n below 2^(46-n).
- n <= 52: offset and total are multiples of 2^-n below 2^(47-n) + 1/2 <= 2^(53-n): at most 53 bits, so nothing is rounded.
- n >= 53: |acc * M| < 2^-6, so both sides are 0, and rounding cannot carry the total, near 1/2, to 0 or 1.

Codes lie in arrays (*spatial, n, channels): a pixel holds all images of the batch, so lines of an image are long and contiguous
for any number of channels, a pointwise convolution is one matrix product, and a strip of lines is a slice of the first axis.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from math import prod
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

EXACT_FLOAT32 = 1 << 24  # every integer of at most this magnitude is a float32
PERIOD = 1024  # elements over which per-channel constants are repeated: NumPy's inner loop is at least about half as long

Array = NDArray[Any]
Attributes = dict[str, Any]


class Scratch:
    """Working memory of one thread: a buffer a role, grown to the largest request and reused."""

    def __init__(self) -> None:
        self._buffers: dict[str, NDArray[np.uint8]] = {}

    def take(self, role: str, shape: Sequence[int], dtype: Any) -> Array:
        """An array of that shape with arbitrary content; it is valid until the role is taken again."""
        size = prod(shape) * np.dtype(dtype).itemsize
        if role not in self._buffers or self._buffers[role].size < size:
            self._buffers[role] = np.empty(size, np.uint8)
        return self._buffers[role][:size].view(dtype).reshape(shape)


def accumulator_dtype(smallest_sum: int, largest_sum: int) -> Any:
    """float32 if it holds every partial sum exactly, float64 otherwise.

    Args:
        smallest_sum: the sum of all negative products at the largest codes; no partial sum, in any order, is below it.
        largest_sum: the sum of all positive products at the largest codes; no partial sum is above it.
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
        ValueError: NaN or infinity, which have no code.
    """
    with np.errstate(over="ignore"):  # a quotient beyond float32 is clipped as any other
        codes: Array = values.astype(np.float32)
        if not np.isfinite(codes).all():
            raise ValueError("input: NaN or infinity found (as float32); finite values expected. Clean the data first.")
        codes /= np.float32(scale)
    codes += np.float32(0.5)
    np.floor(codes, out=codes)
    codes += np.float32(zero_point)
    return np.clip(codes, 0, largest_code, out=codes)


@dataclass(frozen=True)
class Repeated:
    """Constants of one axis, (channels,), repeated so that they meet many pixels in one inner loop of NumPy."""

    values: Array  # (a multiple of channels,)
    channels: int

    @staticmethod
    def of(values: Array) -> "Repeated":
        """Repeat values over about PERIOD elements."""
        return Repeated(np.tile(values, max(1, PERIOD // len(values))), len(values))

    def fold(self, length: int) -> Array:
        """The repetitions that divide a run of length elements: (k * channels,)."""
        pixels = length // self.channels
        return self.values[: _largest_divisor(pixels, len(self.values) // self.channels) * self.channels]


@cache
def _largest_divisor(number: int, limit: int) -> int:
    return next(divisor for divisor in range(min(number, limit), 0, -1) if number % divisor == 0)


class Requantizer:
    """Accumulators to codes: the formula above, its clip, and the table of an activation behind it."""

    def __init__(self, scale: Array, shift: int, addend: Array, finish: "Finish") -> None:
        """Prepare.

        Args:
            scale: (channels,), M; or (1,).
            shift: the largest n in it.
            addend: like scale, integers: what the accumulators lack, the bias or the zero points.
        """
        # The zero point joins the offset if the total still has at most 53 bits, and truncation then replaces the floor.
        self._early = (1 << 47) + ((abs(finish.zero_point) + 1) << shift) <= 1 << 53
        self._scale = Repeated.of(scale)
        self._offset = Repeated.of(addend * scale + 0.5 + (finish.zero_point if self._early else 0))
        self._finish = finish

    def __call__(self, accumulator: Array, out: Array, scratch: Scratch) -> None:
        """Write codes.

        Args:
            accumulator: (*any, channels), integers in float32 or float64, contiguous.
            out: as many elements, codes.
        """
        scale, offset = self._scale.fold(accumulator.size), self._offset.fold(accumulator.size)
        total = scratch.take("total", (accumulator.size // len(scale), len(scale)), np.float64)
        np.copyto(total, accumulator.reshape(total.shape))  # then a float64 product: faster than a product of mixed types
        total *= scale
        total += offset
        if not self._early:
            np.floor(total, out=total)
            total += self._finish.zero_point
        self._finish.write(total.reshape(out.shape), out)


class Finish:
    """The end of a requantization: zero point, clip, and table if the node has one."""

    def __init__(self, attributes: Attributes, table: Array | None) -> None:
        low, high = attributes["clip"]
        origin = 0 if table is None else low  # a table is indexed from the clip's low end
        self.zero_point = int(attributes["zero_point"]) - origin
        self._low, self._high = low - origin, high - origin
        self._table = table

    def write(self, total: Array, out: Array) -> None:
        """Clip real totals (overwritten) to codes or table indices, all >= 0, so that truncation floors; then write codes."""
        np.clip(total, self._low, self._high, out=total)
        if self._table is None:
            np.copyto(out, total, casting="unsafe")
        else:
            out[...] = self._table[total.astype(np.intp)]


def load(codes: Array, lines: range, attributes: Attributes, value: int, buffer: tuple[Scratch, Any]) -> Array:
    """Copy what a strip of output lines reads, padded.

    Args:
        codes: (*spatial, n, channels).
        lines: of the output, along the first spatial dimension.
        attributes: kernel, stride, padding and dilation (default 1), one entry a spatial dimension.
        value: of the padding.
        buffer: where, and of which type.

    Returns:
        (input lines, *padded other spatial dimensions, n, channels).
    """
    padding, stride = attributes["padding"], attributes["stride"][0]
    reach = (attributes["kernel"][0] - 1) * dilations(attributes)[0] + 1
    first = lines.start * stride - padding[0][0]
    last = (lines.stop - 1) * stride - padding[0][0] + reach  # exclusive; first and last may lie in the padding
    inner = codes.shape[1 : len(padding)]
    padded = [size + sum(pair) for size, pair in zip(inner, padding[1:], strict=True)]
    scratch, dtype = buffer
    strip = scratch.take("strip", (last - first, *padded, *codes.shape[-2:]), dtype)
    if any(map(any, padding)):
        strip.fill(value)
    start = max(first, 0)
    stop = max(start, min(last, len(codes)))
    inside = [slice(pair[0], pair[0] + size) for size, pair in zip(inner, padding[1:], strict=True)]
    strip[(slice(start - first, stop - first), *inside)] = codes[start:stop]
    return strip


def taps(strip: Array, outputs: Sequence[int], attributes: Attributes) -> Iterator[Array]:
    """For each tap of the kernel, in C order, the view of what it meets.

    Args:
        strip: (*padded spatial, n, channels) as load gives it.
        outputs: spatial shape of the output strip, or of its first dimensions: the taps are those of these dimensions.

    Yields:
        (*outputs, *remaining padded spatial, n, channels).
    """
    steps = list(zip(outputs, attributes["stride"], dilations(attributes), strict=False))
    for tap in np.ndindex(*attributes["kernel"][: len(outputs)]):
        starts = (index * gap for index, (_, _, gap) in zip(tap, steps, strict=True))
        yield strip[
            tuple(slice(at, at + stride * (size - 1) + 1, stride) for at, (size, stride, _) in zip(starts, steps, strict=True))
        ]


def gather(strip: Array, width: int, attributes: Attributes, groups: int, scratch: Scratch) -> Array:
    """Put the taps along the last spatial dimension side by side, so that a matrix product sums over them.

    Args:
        strip: (*padded spatial, n, channels).
        width: of the output.

    Returns:
        (groups, *padded spatial but the last, width, n, taps * channels of a group).
    """
    kernel, stride, dilation = attributes["kernel"][-1], attributes["stride"][-1], dilations(attributes)[-1]
    *lead, _, images, channels = strip.shape
    if groups == kernel == stride == 1:
        return strip[None]
    *leads, pixel, image, channel = strip.strides
    shape = (*lead, width, images, kernel, groups, channels // groups)
    strides = (*leads, pixel * stride, image, pixel * dilation, channel * channels // groups, channel)
    view = np.moveaxis(as_strided(strip, shape, strides, writeable=False), -2, 0)
    columns = scratch.take("columns", view.shape, strip.dtype)
    np.copyto(columns, view)
    return columns.reshape(*view.shape[:-2], -1)


def depthwise(strip: Array, weight: list[Repeated], attributes: Attributes, out: Array, scratch: Scratch) -> None:
    """One filter a channel, as a sum over taps of shifted products.

    Args:
        strip: (*padded spatial, n, channels).
        weight: for each tap in C order (channels,).
        out: (*outputs, n, channels), the accumulators; overwritten.
    """
    outputs, pixel = out.shape[:-2], out.shape[-2] * out.shape[-1]
    line = pixel if attributes["stride"][-1] > 1 else pixel * outputs[-1]  # elements that lie together in every view
    product = scratch.take("columns", out.shape, out.dtype)
    for index, (view, factors) in enumerate(zip(taps(strip, outputs, attributes), weight, strict=True)):
        factor = factors.fold(line)
        shape = (*outputs[:-1], -1, len(factor)) if line > pixel else (*outputs, -1, len(factor))
        target = product if index else out
        np.multiply(view.reshape(shape), factor, out=target.reshape(shape))
        if index:
            out += product


def dilations(attributes: Attributes) -> Sequence[int]:
    """The dilation of each spatial dimension; 1 where the node states none."""
    found: Sequence[int] = attributes.get("dilation", [1] * len(attributes["kernel"]))
    return found
