"""Integer arithmetic on NumPy arrays: quantization, requantization, and the sliding windows of channels-last codes.

Requantization, the only rounding in a Program. An accumulator acc (int32 range) becomes a code by a signed 16-bit multiplier m
and a shift 1 <= n <= 62, half up, rounded once:

    code = clip(((acc * m + 2^(n-1)) >> n) + zero_point, low, high)                                   (>> floors)

Here it is computed in float64, as floor(sum * M + offset) with M = m * 2^-n, offset = bias * M + 1/2 and acc = sum + bias, and it is
exact. M is exact, m having 15 bits. |sum|, |bias| < 2^31 make each product a multiple of 2^-n below 2^(46-n).
- n <= 52: offset and total are multiples of 2^-n below 2^(47-n) + 1/2 <= 2^(53-n): at most 53 bits, so nothing is rounded.
- n >= 53: |acc * M| < 2^-6, so both sides are 0, and rounding cannot carry the total, near 1/2, to 0 or 1.
"""

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

EXACT_FLOAT32 = 1 << 24  # every integer of at most this magnitude is a float32

Array = NDArray[Any]
Padding = Sequence[Sequence[int]]


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


def requantize(accumulator: Array, scale: Array, offset: Array, zero_point: int, product: Array) -> Array:
    """floor(accumulator * scale + offset) + zero_point: the formula above before its clip.

    Args:
        accumulator: (rows, columns), integers in float32 or float64, the bias left out.
        scale: (columns,), M = m * 2^-n.
        offset: (columns,), bias * M + 1/2.
        product: (rows, columns), float64; overwritten and returned.
    """
    np.copyto(product, accumulator)  # a copy and a float64 product are faster than a product of mixed types
    product *= scale
    product += offset
    np.floor(product, out=product)
    if zero_point:
        product += zero_point
    return product


def pad(codes: Array, padding: Padding, value: int, scratch: Scratch) -> Array:
    """Surround channels-last codes by a value.

    Args:
        codes: (n, *spatial, channels).
        padding: (before, after) of each spatial dimension.
    """
    if not any(map(any, padding)):
        return codes
    spatial = [size + sum(pair) for size, pair in zip(codes.shape[1:-1], padding, strict=True)]
    padded = scratch.take("padded", (len(codes), *spatial, codes.shape[-1]), codes.dtype)
    padded.fill(value)
    inside = [slice(pair[0], pair[0] + size) for pair, size in zip(padding, codes.shape[1:-1], strict=True)]
    padded[(slice(None), *inside)] = codes
    return padded


def windows(padded: Array, outputs: Sequence[int], attributes: dict[str, Any]) -> Array:
    """A view of all windows: (n, *padded, channels) -> (n, *outputs, *kernel, channels); no copy.

    Args:
        outputs: spatial shape of the output.
        attributes: kernel, stride and dilation (default 1), one entry a spatial dimension.
    """
    batch, *spatial, channel = padded.strides
    steps = [size * jump for size, jump in zip(spatial, attributes["stride"], strict=True)]
    gaps = [size * gap for size, gap in zip(spatial, dilations(attributes), strict=True)]
    shape = (len(padded), *outputs, *attributes["kernel"], padded.shape[-1])
    return as_strided(padded, shape, (batch, *steps, *gaps, channel), writeable=False)


def taps(padded: Array, outputs: Sequence[int], attributes: dict[str, Any], scratch: Scratch) -> Iterator[Array]:
    """For each tap of the kernel, in C order, the view of what it meets: (n, *outputs, channels).

    A stride along the last spatial dimension is taken by sorting the lines once, so that each view runs over whole lines.

    Args:
        padded: (n, *padded, channels).
        outputs: spatial shape of the output.
        attributes: kernel, stride and dilation (default 1), one entry a spatial dimension.
    """
    stride = attributes["stride"]
    phases = split_phases(padded, stride[-1], scratch)
    for tap in np.ndindex(*attributes["kernel"]):
        *lead, last = (index * gap for index, gap in zip(tap, dilations(attributes), strict=True))
        rows = [slice(at, at + jump * (size - 1) + 1, jump) for at, jump, size in zip(lead, stride, outputs, strict=False)]
        start, phase = divmod(last, stride[-1])
        yield phases[(slice(None), *rows, phase, slice(start, start + outputs[-1]))]


def depthwise(views: Iterator[Array], weight: Array, out: Array, product: Array) -> None:
    """One filter a channel, as shifted products over whole images.

    Args:
        views: for each tap (n, *outputs, channels).
        weight: (taps, last output size, channels), each filter repeated along the last spatial dimension, so that NumPy's inner
            loop runs over a whole line of the image and not over the channels of a pixel.
        out: (n, *outputs, channels), the accumulators; overwritten.
        product: like out; overwritten.
    """
    np.multiply(next(views), weight[0], out=out)
    for view, factor in zip(views, weight[1:], strict=True):
        np.multiply(view, factor, out=product)
        out += product


def split_phases(padded: Array, stride: int, scratch: Scratch) -> Array:
    """Sort the last spatial dimension by its index modulo stride: (n, .., w, c) -> (n, .., stride, ceil(w / stride), c)."""
    if stride == 1:
        return padded[..., None, :, :]
    width = -(-padded.shape[-2] // stride)
    phases = scratch.take("phases", (*padded.shape[:-2], stride, width, padded.shape[-1]), padded.dtype)
    for phase in range(stride):
        part = padded[..., phase::stride, :]
        phases[..., phase, : part.shape[-2], :] = part
    return phases


def dilations(attributes: dict[str, Any]) -> Sequence[int]:
    """The dilation of each spatial dimension; 1 where the node states none."""
    found: Sequence[int] = attributes.get("dilation", [1] * len(attributes["kernel"]))
    return found
