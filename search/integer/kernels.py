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
from numpy.typing import NDArray

EXACT_FLOAT32 = 1 << 24  # every integer of at most this magnitude is a float32
PERIOD = 1024  # elements over which a requantization's constants are repeated
FILTER_PERIOD = 512  # and those of a depthwise convolution

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


class Repeated:
    """Constants of the last axis, (.., channels), repeated so that they meet many pixels in one inner loop of NumPy."""

    def __init__(self, values: Array, length: int) -> None:
        """Repeat values up to about length elements."""
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
        """Prepare.

        Args:
            scale: (channels,), M; or (1,).
            shift: the largest n in it.
            addend: like scale, integers: what the accumulators lack, the bias or the zero points.
        """
        # The zero point joins the offset if the total still has at most 53 bits, and truncation then replaces the floor.
        self._early = (1 << 47) + ((abs(finish.zero_point) + 1) << shift) <= 1 << 53
        self._scale = Repeated(scale, PERIOD)
        self._offset = Repeated(addend * scale + 0.5 + (finish.zero_point if self._early else 0), PERIOD)
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


def view_of(array: Array, shape: Sequence[int], strides: Sequence[int]) -> Array:
    """A view with other strides, in bytes; NumPy's as_strided without its cost, which counts in a loop over strips."""
    return np.ndarray(shape, array.dtype, array, 0, strides)


def windows(strip: Array, outputs: Sequence[int], attributes: Attributes) -> Array:
    """A view of all windows: (*padded spatial, n, channels) -> (*outputs, *kernel, n, channels); no copy."""
    *spatial, image, channel = strip.strides
    steps = [size * stride for size, stride in zip(spatial, attributes["stride"], strict=True)]
    gaps = [size * gap for size, gap in zip(spatial, dilations(attributes), strict=True)]
    shape = (*outputs, *attributes["kernel"], *strip.shape[-2:])
    return view_of(strip, shape, (*steps, *gaps, image, channel))


def lead_taps(columns: Array, outputs: Sequence[int], attributes: Attributes) -> Iterator[Array]:
    """For each tap of the kernel without its last dimension, in C order, the view of what it meets.

    Args:
        columns: (groups, *padded spatial but the last, width, n, k) as gather gives it.
        outputs: spatial shape of the output strip without its last dimension.

    Yields:
        (groups, *outputs, width, n, k).
    """
    steps = list(zip(outputs, attributes["stride"], dilations(attributes), strict=False))
    for tap in np.ndindex(*attributes["kernel"][:-1]):
        starts = (index * gap for index, (_, _, gap) in zip(tap, steps, strict=True))
        yield columns[
            :, *(slice(at, at + stride * (size - 1) + 1, stride) for at, (size, stride, _) in zip(starts, steps, strict=True))
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
    shape = (groups, *lead, width, images, kernel, channels // groups)
    strides = (channel * channels // groups, *leads, pixel * stride, image, pixel * dilation, channel)
    view = view_of(strip, shape, strides)
    columns = scratch.take("columns", view.shape, strip.dtype)
    np.copyto(columns, view)
    return columns.reshape(*view.shape[:-2], -1)


def depthwise(strip: Array, weight: Repeated, attributes: Attributes, out: Array) -> None:
    """One filter a channel: the sum over taps of pixels times filter.

    Args:
        strip: (*padded spatial, n, channels), contiguous.
        weight: (*kernel, channels), repeated along the channels.
        out: (*outputs, n, channels), contiguous accumulators; overwritten.
    """
    *outputs, images, channels = out.shape
    if attributes["stride"][-1] == 1:  # a line's pixels lie side by side in every window, as the images of a pixel do
        *outputs, images = (*outputs[:-1], 1, outputs[-1] * images)
    factor = weight.fold(images * channels)  # (*kernel, run)
    runs, run = images * channels // factor.shape[-1], factor.shape[-1]
    view = windows(strip, outputs, attributes)
    shape = (*outputs, runs, *attributes["kernel"], run)
    strides = (*view.strides[: len(outputs)], run * strip.itemsize, *view.strides[len(outputs) : -2], strip.itemsize)
    pixels, taps = list(range(len(outputs) + 1)), list(range(len(outputs) + 1, len(shape) - 1))
    last = len(shape) - 1
    view = view_of(strip, shape, strides)
    np.einsum(view, [*pixels, *taps, last], factor, [*taps, last], [*pixels, last], out=out.reshape(*outputs, runs, run))


def dilations(attributes: Attributes) -> Sequence[int]:
    """The dilation of each spatial dimension; 1 where the node states none."""
    found: Sequence[int] = attributes.get("dilation", [1] * len(attributes["kernel"]))
    return found
