"""Sliding windows over strips of lines: loading, gathering for a matrix product, and the depthwise sum.

Codes lie in arrays (*spatial, n, channels), so a pixel holds all images of the batch. Lines are therefore long and
contiguous for any number of channels, a pointwise convolution is one matrix product, and a strip of lines is a slice of
the first axis. Attributes are those of a node: kernel, stride, padding pairs and dilation (default 1), with one entry
for each spatial dimension.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from search.integer.kernels import Array, Repeated, Scratch

SHORT_RUN = 8  # channels: with fewer, a copy pixel by pixel is slow
FILTER_PERIOD = 1024  # elements over which the filters of a depthwise convolution are repeated

Attributes = dict[str, Any]


def load(codes: Array, lines: range, attributes: Attributes, value: int, buffer: tuple[Scratch, Any]) -> Array:
    """What a strip of output lines reads, padded. It is a copy unless the codes will do as they are.

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
    if codes.dtype == dtype and not any(map(any, padding)):
        return codes[first:last]
    strip = scratch.take("strip", (last - first, *padded, *codes.shape[-2:]), dtype)
    start = max(first, 0)
    stop = max(start, min(last, len(codes)))
    inside = [slice(pair[0], pair[0] + size) for size, pair in zip(inner, padding[1:], strict=True)]
    inside = [slice(start - first, stop - first), *inside]
    for axis, part in enumerate(inside):  # the border alone: filling all of it would write most of it twice
        strip[(slice(None),) * axis + (slice(part.start),)] = value
        strip[(slice(None),) * axis + (slice(part.stop, None),)] = value
    strip[tuple(inside)] = codes[start:stop]
    return strip


def view_of(array: Array, shape: Sequence[int], strides: Sequence[int]) -> Array:
    """A view with other strides, in bytes. NumPy's as_strided does the same, but is slow in a loop over strips."""
    return np.ndarray(shape, array.dtype, array, 0, strides)


def windows(strip: Array, outputs: Sequence[int], attributes: Attributes) -> Array:
    """A view of all windows, without a copy: (*padded spatial, n, channels) -> (*outputs, *kernel, n, channels)."""
    *spatial, image, channel = strip.strides
    steps = [size * stride for size, stride in zip(spatial, attributes["stride"], strict=True)]
    gaps = [size * gap for size, gap in zip(spatial, dilations(attributes), strict=True)]
    shape = (*outputs, *attributes["kernel"], *strip.shape[-2:])
    return view_of(strip, shape, (*steps, *gaps, image, channel))


def tap_axes(view: Array) -> tuple[int, ...]:
    """The axes of the kernel in a view of windows."""
    spatial = (view.ndim - 2) // 2
    return tuple(range(spatial, 2 * spatial))


def gather(strip: Array, outputs: Sequence[int], attributes: Attributes, groups: int, scratch: Scratch) -> Array:
    """Puts the taps along the last spatial dimensions side by side, so that a matrix product sums over them.

    Args:
        strip: (*padded spatial, n, channels), contiguous.
        outputs: of these last dimensions.

    Returns:
        (groups, *padded spatial but these, *outputs, n, taps of these * channels of a group).
    """
    inner = len(outputs)
    kernel, stride = attributes["kernel"][-inner:], attributes["stride"][-inner:]
    if groups == max(kernel) == max(stride) == 1:
        return strip[None]
    *spatial, image, channel = strip.strides
    outer, spatial = spatial[:-inner], spatial[-inner:]
    steps = [size * jump for size, jump in zip(spatial, stride, strict=True)]
    gaps = [size * gap for size, gap in zip(spatial, dilations(attributes)[-inner:], strict=True)]
    images, channels = strip.shape[-2], strip.shape[-1] // groups
    shape = (groups, *strip.shape[: len(outer)], *outputs, images, *kernel, channels)
    view = view_of(strip, shape, (channel * channels, *outer, *steps, image, *gaps, channel))
    columns = scratch.take("columns", shape, strip.dtype)
    if channels >= SHORT_RUN:
        np.copyto(columns, view)
    else:  # runs over the images are longer than those over the channels
        for place in np.ndindex(*kernel, channels):
            columns[..., *place] = view[..., *place]
    return columns.reshape(*shape[: 2 + len(outer) + inner], -1)


def outer_taps(columns: Array, outputs: Sequence[int], attributes: Attributes) -> Iterator[Array]:
    """For each tap of the dimensions that were not gathered, in C order, the view of the pixels that it meets.

    Args:
        columns: (groups, *padded spatial of these dimensions, *any).
        outputs: of these dimensions, the first ones.

    Yields:
        (groups, *outputs, *any).
    """
    stride, dilation = attributes["stride"], dilations(attributes)
    for tap in np.ndindex(*attributes["kernel"][: len(outputs)]):
        starts = [index * gap for index, gap in zip(tap, dilation, strict=False)]
        stops = [at + jump * (size - 1) + 1 for at, jump, size in zip(starts, stride, outputs, strict=False)]
        yield columns[:, *(slice(*bounds) for bounds in zip(starts, stops, stride, strict=False))]


def depthwise(strip: Array, weight: Repeated, attributes: Attributes, out: Array) -> None:
    """The sum over taps of pixels times filter, with one filter for each channel.

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
    axes = list(range(len(shape)))
    pixels, taps = axes[: len(outputs) + 1], axes[len(outputs) + 1 :]  # taps and the run
    sums = out.reshape(*outputs, runs, run)
    np.einsum(view_of(strip, shape, strides), axes, factor, taps, [*pixels, axes[-1]], out=sums)


def dilations(attributes: Attributes) -> Sequence[int]:
    """The dilation of each spatial dimension; 1 where the node states none."""
    found: Sequence[int] = attributes.get("dilation", [1] * len(attributes["kernel"]))
    return found
