"""The kernels: one prepared operator a node, weights unpacked and multipliers made real once, then codes in, codes out.

A tensor of shape (c, *spatial) is an array of codes (*spatial, n, c); windows.py says why. An operator fills some lines
of its output, that is a range of its first axis, so that its working memory is small whatever the size of the image.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Protocol

import numpy as np

from search.integer import kernels, windows
from search.integer.kernels import Array, Finish, Repeated, Requantizer, Scratch
from search.integer.program import Node, Program

SHORT_DEPTH = 8  # terms of a matrix product's sums: with fewer, all taps go into one product

Inputs = Sequence[Array]


class Prepared(Protocol):
    """Fill out[lines] from the inputs; if whole, lines are always all of them."""

    whole: bool

    def __call__(self, inputs: Inputs, out: Array, lines: range, scratch: Scratch) -> None: ...


def _requantizer(program: Program, node: Node, addend: Array) -> Requantizer:
    """The node's, with its own multipliers and shifts; addend: what its accumulators lack, (channels,) or (1,)."""
    multiplier, shift = program.constant(node, "multiplier"), program.constant(node, "shift")
    return Requantizer(kernels.real_multiplier(multiplier, shift), int(shift.max()), addend, _finish(program, node))


def _finish(program: Program, node: Node) -> Finish:
    return Finish(node.attributes, program.constant(node, "table") if "table" in node.constants else None)


class Weights:
    """Codes and biases of a conv or linear node, and the float type in which its sums are exact."""

    def __init__(self, program: Program, node: Node) -> None:
        self.codes = program.weights(node)  # (channels, fan_in)
        self.bias = program.constant(node, "bias").astype(np.int64)
        largest = program.tensors[node.inputs[0]].largest_code
        negative = int(np.minimum(self.codes, 0).sum(axis=1, dtype=np.int64).min())
        positive = int(np.maximum(self.codes, 0).sum(axis=1, dtype=np.int64).max())
        self.dtype = kernels.accumulator_dtype(negative * largest, positive * largest)


class Convolution:
    """Any number of dimensions and groups: the last dimension's taps in one matrix product, the others' added."""

    whole = False

    def __init__(self, program: Program, node: Node) -> None:
        weights, self._attributes = Weights(program, node), node.attributes
        self._zero_point, self._dtype = program.tensors[node.inputs[0]].zero_point, weights.dtype
        self._groups, kernel = node.attributes["groups"], node.attributes["kernel"]
        codes = weights.codes.reshape(self._groups, len(weights.codes) // self._groups, -1, prod(kernel))
        short = codes.shape[2] * kernel[-1] < SHORT_DEPTH
        self._outer = 0 if short else len(kernel) - 1  # dimensions whose taps are added
        taps = prod(kernel[: self._outer])
        by_tap = codes.reshape(*codes.shape[:3], taps, -1).transpose(3, 0, 4, 2, 1)
        matrices = np.ascontiguousarray(by_tap, self._dtype)  # (taps added, groups, taps in a product, c_in, c_out)
        self._matrices = matrices.reshape(taps, self._groups, -1, codes.shape[1])
        self._requantize = _requantizer(program, node, weights.bias)

    def __call__(self, inputs: Inputs, out: Array, lines: range, scratch: Scratch) -> None:
        strip = windows.load(inputs[0], lines, self._attributes, self._zero_point, (scratch, self._dtype))
        target = out[lines.start : lines.stop]
        outer, inner = target.shape[: self._outer], target.shape[self._outer : -2]
        columns = windows.gather(strip, inner, self._attributes, self._groups, scratch)
        shape = (self._groups, prod(target.shape[:-1]), target.shape[-1] // self._groups)
        sums = scratch.take("sums", shape, self._dtype)
        for index, view in enumerate(windows.outer_taps(columns, outer, self._attributes)):
            if index == 0:
                self._multiply(view, self._matrices[index], sums)
            else:
                product = scratch.take("product", shape, self._dtype)
                self._multiply(view, self._matrices[index], product)
                sums += product
        if self._groups > 1:
            sums = np.ascontiguousarray(sums.swapaxes(0, 1))
        self._requantize(sums, target, scratch)

    def _multiply(self, view: Array, matrix: Array, out: Array) -> None:
        """One matrix product a group, or a line where the lines lie apart.

        Args:
            view: (groups, *any, n, k).
            matrix: (groups, k, c_out of a group).
            out: (groups, pixels, c_out of a group).
        """
        groups, *lead, width, images, depth = view.shape
        if view.flags.c_contiguous:
            np.matmul(view.reshape(groups, -1, depth), matrix, out=out)
        else:
            by_line = view.reshape(groups, *lead, width * images, depth)
            matrix = matrix.reshape(groups, *(1 for _ in lead), *matrix.shape[1:])
            np.matmul(by_line, matrix, out=out.reshape(groups, *lead, width * images, -1))


class Depthwise:
    """A convolution with one filter a channel."""

    whole = False

    def __init__(self, program: Program, node: Node) -> None:
        weights, self._attributes = Weights(program, node), node.attributes
        self._zero_point, self._dtype = program.tensors[node.inputs[0]].zero_point, weights.dtype
        by_channel = weights.codes.T.reshape(*node.attributes["kernel"], -1).astype(self._dtype)
        self._weight = Repeated(by_channel, windows.FILTER_PERIOD)
        self._requantize = _requantizer(program, node, weights.bias)

    def __call__(self, inputs: Inputs, out: Array, lines: range, scratch: Scratch) -> None:
        strip = windows.load(inputs[0], lines, self._attributes, self._zero_point, (scratch, self._dtype))
        target = out[lines.start : lines.stop]
        sums = scratch.take("sums", target.shape, self._dtype)
        windows.depthwise(strip, self._weight, self._attributes, sums)
        self._requantize(sums, target, scratch)


class Linear:
    """A matrix product over the last dimension of the tensor as the program states it, channels first."""

    whole = True

    def __init__(self, program: Program, node: Node) -> None:
        weights = Weights(program, node)
        self._matrix = np.ascontiguousarray(weights.codes.T, weights.dtype)
        self._requantize = _requantizer(program, node, weights.bias)

    def __call__(self, inputs: Inputs, out: Array, lines: range, scratch: Scratch) -> None:
        rows = np.ascontiguousarray(to_batch_first(inputs[0]), self._matrix.dtype)  # (n, .., features)
        sums = np.matmul(rows, self._matrix)
        codes = np.empty(sums.shape, out.dtype)
        self._requantize(sums, codes, scratch)
        out[...] = from_batch_first(codes)


class Add:
    """The sum of two tensors on different scales, rounded once: acc = (a - z_a) * m_0 + (b - z_b) * m_1, one shift."""

    whole = False

    def __init__(self, program: Program, node: Node) -> None:
        factors, shift = program.constant(node, "multiplier").astype(np.int64), program.constant(node, "shift")
        infos = [program.tensors[name] for name in node.inputs]
        bound = sum(int(abs(factor)) * info.largest_code for factor, info in zip(factors, infos, strict=True))
        zero = sum(int(factor) * info.zero_point for factor, info in zip(factors, infos, strict=True))
        self._factors, self._dtype = factors, kernels.accumulator_dtype(-bound, bound)
        unit = kernels.real_multiplier(np.ones(1), shift)
        self._requantize = Requantizer(unit, int(shift[0]), np.array([-zero]), _finish(program, node))

    def __call__(self, inputs: Inputs, out: Array, lines: range, scratch: Scratch) -> None:
        target = out[lines.start : lines.stop]
        first, second = (strip_of(codes, lines) for codes in inputs)
        sums = scratch.take("sums", target.shape, self._dtype)
        np.copyto(sums, first)
        sums *= self._dtype(self._factors[0])
        product = scratch.take("product", second.shape, self._dtype)
        np.copyto(product, second)
        product *= self._dtype(self._factors[1])
        sums += product
        self._requantize(sums, target, scratch)


class Multiply:
    """The product of two tensors: acc = (a - z_a) * (b - z_b)."""

    whole = False

    def __init__(self, program: Program, node: Node) -> None:
        infos = [program.tensors[name] for name in node.inputs]
        self._zero_points = [info.zero_point for info in infos]
        bound = prod(info.largest_code for info in infos)
        self._dtype = kernels.accumulator_dtype(-bound, bound)
        self._requantize = _requantizer(program, node, np.zeros(1, np.int64))

    def __call__(self, inputs: Inputs, out: Array, lines: range, scratch: Scratch) -> None:
        target = out[lines.start : lines.stop]
        parts = zip(inputs, self._zero_points, strict=True)
        first, second = (np.subtract(strip_of(codes, lines), zero, dtype=self._dtype) for codes, zero in parts)
        sums = np.multiply(first, second, out=scratch.take("sums", target.shape, self._dtype))
        self._requantize(sums, target, scratch)


class Concat:
    """Tensors one behind another along an axis, each requantized to the output's scale."""

    def __init__(self, program: Program, node: Node) -> None:
        multiplier, shift = program.constant(node, "multiplier"), program.constant(node, "shift")
        scales, finish = kernels.real_multiplier(multiplier, shift), _finish(program, node)
        self._requantizers = [
            Requantizer(scales[index, None], int(shift[index]), np.array([-program.tensors[name].zero_point]), finish)
            for index, name in enumerate(node.inputs)
        ]
        self._axis = node.attributes["axis"] - 1  # the channel is last here, spatial axis i is axis i - 1
        self.whole = self._axis == 0

    def __call__(self, inputs: Inputs, out: Array, lines: range, scratch: Scratch) -> None:
        places = np.moveaxis(out if self.whole else out[lines.start : lines.stop], self._axis, 0)
        start = 0
        for codes, requantize in zip(inputs, self._requantizers, strict=True):
            stop = start + codes.shape[self._axis]
            part = codes if self.whole else codes[lines.start : lines.stop]
            requantize(part, np.moveaxis(places[start:stop], 0, self._axis), scratch)
            start = stop


class MaxPool:
    """The largest code of each window; padding is code 0, the least."""

    whole = False

    def __init__(self, program: Program, node: Node) -> None:
        self._attributes = node.attributes

    def __call__(self, inputs: Inputs, out: Array, lines: range, scratch: Scratch) -> None:
        target = out[lines.start : lines.stop]
        strip = windows.load(inputs[0], lines, self._attributes, 0, (scratch, out.dtype))
        view = windows.windows(strip, target.shape[:-2], self._attributes)
        np.max(view, axis=windows.tap_axes(view), out=target)


class AvgPool:
    """The sum of each window, whose divisor is in the multiplier; padding is the zero point."""

    whole = False

    def __init__(self, program: Program, node: Node) -> None:
        source, taps = program.tensors[node.inputs[0]], prod(node.attributes["kernel"])
        self._attributes, self._zero_point = node.attributes, source.zero_point
        self._dtype = kernels.accumulator_dtype(0, taps * source.largest_code)
        self._requantize = _requantizer(program, node, np.array([-taps * source.zero_point]))

    def __call__(self, inputs: Inputs, out: Array, lines: range, scratch: Scratch) -> None:
        target = out[lines.start : lines.stop]
        strip = windows.load(inputs[0], lines, self._attributes, self._zero_point, (scratch, inputs[0].dtype))
        view = windows.windows(strip, target.shape[:-2], self._attributes)
        sums = scratch.take("sums", target.shape, self._dtype)
        np.sum(view, axis=windows.tap_axes(view), dtype=self._dtype, out=sums)
        self._requantize(sums, target, scratch)


class Upsample:
    """Nearest neighbour: each pixel `factor` times along every spatial dimension."""

    whole = False

    def __init__(self, program: Program, node: Node) -> None:
        self._factor = node.attributes["factor"]

    def __call__(self, inputs: Inputs, out: Array, lines: range, scratch: Scratch) -> None:
        first, *others = self._factor
        strip = inputs[0][np.arange(lines.start, lines.stop) // first]
        for axis, times in enumerate(others, start=1):
            strip = strip.repeat(times, axis)
        out[lines.start : lines.stop] = strip


class Flatten:
    """The same codes under another shape, in the order of the channels-first tensor."""

    whole = True

    def __init__(self, program: Program, node: Node) -> None:
        self._shape = tuple(node.attributes["shape"])

    def __call__(self, inputs: Inputs, out: Array, lines: range, scratch: Scratch) -> None:
        out[...] = from_batch_first(to_batch_first(inputs[0]).reshape(-1, *self._shape))


class Table:
    """Any elementwise function, as the output code of every input code."""

    whole = False

    def __init__(self, program: Program, node: Node) -> None:
        self._table = program.constant(node, "table")

    def __call__(self, inputs: Inputs, out: Array, lines: range, scratch: Scratch) -> None:
        out[lines.start : lines.stop] = self._table[inputs[0][lines.start : lines.stop]]


def to_batch_first(codes: Array) -> Array:
    """(*spatial, n, c) -> (n, c, *spatial), a view."""
    return np.moveaxis(codes, (-2, -1), (0, 1))


def from_batch_first(codes: Array) -> Array:
    """(n, c, *spatial) -> (*spatial, n, c), a view."""
    return np.moveaxis(codes, (0, 1), (-2, -1))


def strip_of(codes: Array, lines: range) -> Array:
    """Those lines, or the only line of a tensor that is broadcast along its first axis."""
    return codes[lines.start : lines.stop] if len(codes) > 1 else codes


def _convolution(program: Program, node: Node) -> Prepared:
    """A convolution with one filter a channel has its own kernel."""
    channels = {program.tensors[name].shape[0] for name in (*node.inputs, *node.outputs)}
    own = channels == {node.attributes["groups"]} and node.attributes["groups"] > 1
    return Depthwise(program, node) if own else Convolution(program, node)


KERNELS: dict[str, Callable[[Program, Node], Prepared]] = {
    "conv": _convolution,
    "linear": Linear,
    "add": Add,
    "mul": Multiply,
    "concat": Concat,
    "max_pool": MaxPool,
    "avg_pool": AvgPool,
    "upsample": Upsample,
    "flatten": Flatten,
    "table": Table,
}


def prepare(program: Program, node: Node) -> Prepared:
    """The node as a callable."""
    return KERNELS[node.op](program, node)
