"""Shape rules of operators: from attributes, input shapes and the stated output shape to the output shape.

Shapes have no batch, and channels come first. Of the stated output shape only the channels count, where weights decide
them.
"""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

MOST_PLACES = 1 << 20  # of an axis of an upsampled tensor in an old file

Shape = tuple[int, ...]
Attributes = Mapping[str, Any]


def window_shape(attributes: Attributes, spatial: Sequence[int]) -> Shape:
    """Spatial outputs of a sliding window: floor((in + pads - dilation * (kernel - 1) - 1) / stride) + 1.

    Args:
        attributes: kernel, stride, dilation (default 1) and padding pairs, one entry a spatial dimension.
        spatial: the input's spatial shape.

    Raises:
        ValueError: attributes have another number of dimensions, or a window does not fit.
    """
    kernel, stride, padding = attributes["kernel"], attributes["stride"], attributes["padding"]
    dilation = attributes.get("dilation", [1] * len(kernel))
    lengths = {len(spatial), len(kernel), len(stride), len(padding), len(dilation)}
    if len(lengths) != 1:
        raise ValueError(
            f"kernel {kernel}, stride {stride}, padding {padding} do not fit {len(spatial)} spatial dimensions"
        )
    if min(*kernel, *stride, *dilation) < 1 or min(min(pair) for pair in padding) < 0:
        raise ValueError(
            f"kernel {kernel}, stride {stride}, dilation {dilation} must be >= 1 and padding {padding} >= 0"
        )
    dimensions = zip(spatial, kernel, stride, padding, dilation, strict=True)
    shape = tuple((size + sum(pads) - step * (taps - 1) - 1) // jump + 1 for size, taps, jump, pads, step in dimensions)
    if min(shape) < 1:
        raise ValueError(f"kernel {kernel} with dilation {dilation} is larger than the padded input {tuple(spatial)}")
    return shape


def kernel(attributes: Attributes, inputs: Sequence[Shape]) -> Shape:
    return tuple(attributes.get("kernel", ()))


def resampled_window(attributes: Attributes, inputs: Sequence[Shape]) -> Shape:
    """The most elements that a place has weights for, along each axis."""
    return tuple(max(map(len, rows)) for rows in attributes["weights"])


def contracted(attributes: Attributes, inputs: Sequence[Shape]) -> Shape:
    """How many products a sum has."""
    return (inputs[0][attributes["axes"][0]],)


def convolution(attributes: Attributes, inputs: Sequence[Shape], output: Shape) -> Shape:
    groups = attributes["groups"]
    if groups < 1 or inputs[0][0] % groups or output[0] % groups:
        raise ValueError(f"groups {groups} must divide the channels, {inputs[0][0]} in and {output[0]} out")
    return (output[0], *window_shape(attributes, inputs[0][1:]))


def transposed_convolution(attributes: Attributes, inputs: Sequence[Shape], output: Shape) -> Shape:
    """That of a convolution with stride 1 over the input with stride - 1 zeros between its elements."""
    channels, *spatial = inputs[0]
    if len(attributes["stride"]) != len(spatial):
        raise ValueError(f"stride {attributes['stride']} does not fit {len(spatial)} spatial dimensions")
    spread = tuple((size - 1) * step + 1 for size, step in zip(spatial, attributes["stride"], strict=True))
    return convolution({**attributes, "stride": [1] * len(spread)}, [(channels, *spread)], output)


def convolution_fan_in(attributes: Attributes, shape: Shape) -> int:
    """Weights of one output channel: taps times the input channels of a group."""
    return int(prod(attributes["kernel"])) * shape[0] // int(attributes["groups"])


def linear(attributes: Attributes, inputs: Sequence[Shape], output: Shape) -> Shape:
    return (*inputs[0][:-1], output[-1])


def linear_fan_in(attributes: Attributes, shape: Shape) -> int:
    """Weights of one output feature."""
    return shape[-1]


def pool(attributes: Attributes, inputs: Sequence[Shape], output: Shape) -> Shape:
    return (inputs[0][0], *window_shape(attributes, inputs[0][1:]))


def taken(attributes: Attributes, inputs: Sequence[Shape], output: Shape) -> Shape:
    """Of each axis the places in its list, or all of them where the list is empty."""
    indices, shape = attributes["indices"], inputs[0]
    if len(indices) != len(shape):
        raise ValueError(f"indices of {len(indices)} axes found; the input has shape {shape}")
    for axis, (places, size) in enumerate(zip(indices, shape, strict=True)):
        if max(places, default=0) >= size:
            raise ValueError(f"index {max(places)} of axis {axis} found; 0..{size - 1} are allowed")
    return tuple(len(places) or size for places, size in zip(indices, shape, strict=True))


def permuted(attributes: Attributes, inputs: Sequence[Shape], output: Shape) -> Shape:
    axes, shape = attributes["axes"], inputs[0]
    if sorted(axes) != list(range(len(shape))):
        raise ValueError(f"axes {axes} found; an order of 0..{len(shape) - 1} is allowed")
    return tuple(shape[axis] for axis in axes)


def resampled(attributes: Attributes, inputs: Sequence[Shape], output: Shape) -> Shape:
    """As many places along each spatial axis as it has weights for."""
    channels, *spatial = inputs[0]
    starts, weights = attributes["starts"], attributes["weights"]
    if not len(starts) == len(weights) == len(attributes["divisors"]) == len(spatial):
        raise ValueError(f"weights of {len(weights)} axes found; the input has the spatial shape {tuple(spatial)}")
    for size, first, rows in zip(spatial, starts, weights, strict=True):
        if len(first) != len(rows) or not all(
            row and at + len(row) <= size for at, row in zip(first, rows, strict=False)
        ):
            raise ValueError(f"weights that lie outside of an axis of {size} elements, or none, found")
    return (channels, *map(len, weights))


def product(attributes: Attributes, inputs: Sequence[Shape], output: Shape) -> Shape:
    """(heads, M, K) and (heads, K, P), whose axes K are given, to (heads, M, P)."""
    axes, (left, right) = attributes["axes"], inputs
    if len(axes) != 2 or not set(axes) <= {1, 2} or not len(left) == len(right) == 3:
        raise ValueError(f"axes {axes} of shapes {left} and {right} found; two out of 1 and 2 of three are allowed")
    (heads, *_), (first, second) = left, axes
    if right[0] != heads or left[first] != right[second]:
        raise ValueError(f"shapes {left} and {right} do not agree in their heads, or in axes {axes}")
    return (heads, left[3 - first], right[3 - second])


def stated(attributes: Attributes, inputs: Sequence[Shape], output: Shape) -> Shape:
    return output


def one_place(attributes: Attributes, inputs: Sequence[Shape], output: Shape) -> Shape:
    """That of a sequence without its last axis."""
    if len(inputs[0]) < 2:
        raise ValueError(f"shape {inputs[0]} found; a sequence has channels, and an axis behind them")
    return inputs[0][:-1]


def all_places(attributes: Attributes, inputs: Sequence[Shape], output: Shape) -> Shape:
    return (*inputs[0], attributes["steps"])


def broadcast(attributes: Attributes, inputs: Sequence[Shape], output: Shape) -> Shape:
    left, right = inputs
    if len(left) != len(right) or any(a != b and 1 not in (a, b) for a, b in zip(left, right, strict=True)):
        raise ValueError(f"shapes {left} and {right} must have one rank and agree, dimensions of size 1 apart")
    return tuple(a if b == 1 else b for a, b in zip(left, right, strict=True))


def concatenation(attributes: Attributes, inputs: Sequence[Shape], output: Shape) -> Shape:
    axis, first = attributes["axis"], inputs[0]
    if not 0 <= axis < len(first):
        raise ValueError(f"axis {axis} found; 0..{len(first) - 1} are allowed (0 is the channel)")
    rest = first[:axis] + first[axis + 1 :]
    if any(len(shape) != len(first) or shape[:axis] + shape[axis + 1 :] != rest for shape in inputs):
        raise ValueError(f"shapes {list(inputs)} must agree in every dimension but axis {axis}")
    return (*first[:axis], sum(shape[axis] for shape in inputs), *first[axis + 1 :])


def reshape(attributes: Attributes, inputs: Sequence[Shape], output: Shape) -> Shape:
    shape = tuple(attributes["shape"])
    if prod(shape) != prod(inputs[0]):
        raise ValueError(f"shape {shape} has {prod(shape)} elements and its input {inputs[0]} has {prod(inputs[0])}")
    return shape


def same(attributes: Attributes, inputs: Sequence[Shape], output: Shape) -> Shape:
    return inputs[0]


def along(attributes: Attributes, inputs: Sequence[Shape], output: Shape) -> Shape:
    """The same, of what is measured along an axis."""
    axis, shape = attributes["axis"], inputs[0]
    if axis >= len(shape):
        raise ValueError(f"axis {axis} found; 0..{len(shape) - 1} are allowed (0 is the channel)")
    return shape


def measured(attributes: Attributes, inputs: Sequence[Shape], output: Shape) -> Shape:
    """The same, of what is measured over some axes; several groups divide the channels, which are among them."""
    axes, groups, shape = attributes["axes"], attributes["groups"], inputs[0]
    if not axes or len(set(axes)) != len(axes) or max(axes) >= len(shape):
        raise ValueError(f"axes {axes} found; different ones of 0..{len(shape) - 1} are allowed, at least one")
    if groups > 1 and (shape[0] % groups or 0 not in axes):
        raise ValueError(f"groups {groups} must divide the channels, {shape[0]}, and axes {axes} have 0 among them")
    return shape


def repeated(shape: Sequence[int], attributes: Attributes) -> dict[str, Any]:
    """The attributes of `take` that upsample by factors was, of an input of that shape."""
    each = list(zip(shape[1:], attributes["factor"], strict=True))
    if any(size * times > MOST_PLACES for size, times in each):
        raise ValueError(f"factor {attributes['factor']} found; up to {MOST_PLACES} places of an axis are allowed")
    return {"indices": [[], *([i for i in range(size) for _ in range(times)] for size, times in each)]}
