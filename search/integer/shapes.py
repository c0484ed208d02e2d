"""Shape rules of operators: from attributes, input shapes and the stated output shape to the output shape.

Shapes have no batch, and channels come first. Of the stated output shape only the channels count, where weights decide
them.
"""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

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


def convolution(attributes: Attributes, inputs: Sequence[Shape], output: Shape) -> Shape:
    groups = attributes["groups"]
    if groups < 1 or inputs[0][0] % groups or output[0] % groups:
        raise ValueError(f"groups {groups} must divide the channels, {inputs[0][0]} in and {output[0]} out")
    return (output[0], *window_shape(attributes, inputs[0][1:]))


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


def repetition(attributes: Attributes, inputs: Sequence[Shape], output: Shape) -> Shape:
    factor, (channels, *spatial) = attributes["factor"], inputs[0]
    if len(factor) != len(spatial) or min(factor, default=1) < 1:
        raise ValueError(f"factor {factor} found; {len(spatial)} whole numbers of 1 or more are allowed")
    return (channels, *(size * times for size, times in zip(spatial, factor, strict=True)))


def broadcast(attributes: Attributes, inputs: Sequence[Shape], output: Shape) -> Shape:
    left, right = inputs
    if len(left) != len(right) or any(a != b and 1 not in (a, b) for a, b in zip(left, right, strict=True)):
        raise ValueError(f"shapes {left} and {right} must have one rank and agree, dimensions of size 1 apart")
    return tuple(a if b == 1 else b for a, b in zip(left, right, strict=True))


def concatenation(attributes: Attributes, inputs: Sequence[Shape], output: Shape) -> Shape:
    axis, first = attributes["axis"], inputs[0]
    if not 0 <= axis < len(first):
        raise ValueError(f"axis {axis} found; 0..{len(first) - 1} are allowed (0 is the channel)")
    if any(shape[:axis] + shape[axis + 1 :] != first[:axis] + first[axis + 1 :] for shape in inputs):
        raise ValueError(f"shapes {list(inputs)} must agree in every dimension but axis {axis}")
    return (*first[:axis], sum(shape[axis] for shape in inputs), *first[axis + 1 :])


def reshape(attributes: Attributes, inputs: Sequence[Shape], output: Shape) -> Shape:
    shape = tuple(attributes["shape"])
    if prod(shape) != prod(inputs[0]):
        raise ValueError(f"shape {shape} has {prod(shape)} elements and its input {inputs[0]} has {prod(inputs[0])}")
    return shape


def same(attributes: Attributes, inputs: Sequence[Shape], output: Shape) -> Shape:
    return inputs[0]
