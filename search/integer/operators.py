"""One prepared operator a node: weights unpacked and multipliers made real once, then codes in, codes out.

Between operators codes travel as float32, channels last: a tensor of shape (c, *spatial) is an array (n, *spatial, c). An operator
is called with its inputs, the array to fill and a thread's working memory.
"""

from collections.abc import Sequence
from math import prod
from typing import Any, Protocol

import numpy as np

from search.integer import kernels
from search.integer.kernels import Array, Scratch
from search.integer.program import Node, Program

Inputs = Sequence[Array]


class Operator(Protocol):
    """Fill out, (n, *spatial, c), from the inputs."""

    def __call__(self, inputs: Inputs, out: Array, scratch: Scratch) -> None: ...


def last(shape: Sequence[int]) -> tuple[int, ...]:
    """A channels-first shape with its channels last."""
    return (*shape[1:], shape[0])


class Requantizer:
    """Accumulators to codes, by the formula of kernels.py, then the node's clip and table."""

    def __init__(self, program: Program, node: Node, addend: Array, line: int) -> None:
        """Prepare.

        Args:
            addend: (channels,) or (1,), int64: what the accumulators lack, the bias or the zero points.
            line: pixels in a line of the output. Constants are repeated along it, so that NumPy's inner loop is long.
        """
        scale = kernels.real_multiplier(program.constant(node, "multiplier"), program.constant(node, "shift"))
        self._line = line
        self._scale = np.tile(scale, line)
        self._offset = np.tile(addend * scale + 0.5, line)
        self._finish = Finish(program, node)

    def __call__(self, accumulator: Array, out: Array, scratch: Scratch) -> None:
        rows = accumulator.reshape(-1, self._line * accumulator.shape[-1])
        product = scratch.take("product", rows.shape, np.float64)
        product = kernels.requantize(rows, self._scale, self._offset, self._finish.zero_point, product)
        self._finish(product.reshape(out.shape), out)


class Finish:
    """The end of every requantization: clip, then the table where the node has one."""

    def __init__(self, program: Program, node: Node) -> None:
        self.zero_point = int(node.attributes["zero_point"])
        self._low, self._high = node.attributes["clip"]
        self._table = program.constant(node, "table").astype(np.float32) if "table" in node.constants else None

    def __call__(self, codes: Array, out: Array) -> None:
        if self._table is None:
            np.copyto(out, codes, casting="same_kind")  # rounding to float32 keeps a code on its side of the clip
            np.clip(out, self._low, self._high, out=out)
        else:
            np.clip(codes, self._low, self._high, out=codes)
            np.take(self._table, (codes - self._low).astype(np.intp), out=out, mode="clip")


class Weights:
    """Codes of a conv or linear node, and the float type in which their sums are exact."""

    def __init__(self, program: Program, node: Node) -> None:
        self.codes = program.weights(node).astype(np.int64)  # (channels, fan_in)
        largest = program.tensors[node.inputs[0]].largest_code
        negative = np.minimum(self.codes, 0).sum(axis=1).min() * largest
        positive = np.maximum(self.codes, 0).sum(axis=1).max() * largest
        self.dtype = kernels.accumulator_dtype(int(negative), int(positive))
        self.bias = program.constant(node, "bias").astype(np.int64)


class Convolution:
    """Convolution of any number of spatial dimensions and groups: windows copied to a matrix, then one matrix product a group."""

    def __init__(self, program: Program, node: Node) -> None:
        source, target = program.tensors[node.inputs[0]], program.tensors[node.output]
        weights = Weights(program, node)
        self._attributes, self._zero_point, self._dtype = node.attributes, source.zero_point, weights.dtype
        self._groups, taps = node.attributes["groups"], prod(node.attributes["kernel"])
        grouped = weights.codes.reshape(self._groups, target.shape[0] // self._groups, -1, taps)
        matrix = grouped.transpose(0, 3, 2, 1).reshape(self._groups, -1, grouped.shape[1])  # (groups, taps * c_in, c_out)
        self._matrix = np.ascontiguousarray(matrix, self._dtype)
        self._requantize = Requantizer(program, node, weights.bias, target.shape[-1])
        self._pointwise = self._groups == taps == max(node.attributes["stride"]) == 1

    def __call__(self, inputs: Inputs, out: Array, scratch: Scratch) -> None:
        padded = kernels.pad(inputs[0], self._attributes["padding"], self._zero_point, scratch)
        columns = self._columns(padded, out, scratch)
        groups, rows, _ = columns.shape
        sums = scratch.take("sums", (groups, rows, self._matrix.shape[2]), self._dtype)
        np.matmul(columns, self._matrix, out=sums)
        if groups > 1:
            sums = np.ascontiguousarray(sums.swapaxes(0, 1))
        self._requantize(sums.reshape(out.shape), out, scratch)

    def _columns(self, padded: Array, out: Array, scratch: Scratch) -> Array:
        """(n, *padded, channels) -> (groups, n * outputs, taps * channels of a group)."""
        if self._pointwise:
            return padded.astype(self._dtype, copy=False).reshape(1, -1, padded.shape[-1])
        view = kernels.windows(padded, out.shape[1:-1], self._attributes)
        view = np.moveaxis(view.reshape(*view.shape[:-1], self._groups, -1), -2, 0)
        columns = scratch.take("columns", view.shape, self._dtype)
        np.copyto(columns, view)
        return columns.reshape(self._groups, prod(out.shape[:-1]), -1)


class Depthwise:
    """A convolution with one filter a channel, as shifted products over whole images."""

    def __init__(self, program: Program, node: Node) -> None:
        source, target = program.tensors[node.inputs[0]], program.tensors[node.output]
        weights = Weights(program, node)
        self._attributes, self._zero_point, self._dtype = node.attributes, source.zero_point, weights.dtype
        by_tap = np.ascontiguousarray(weights.codes.T[:, None, :], weights.dtype)
        self._weight = np.tile(by_tap, (1, target.shape[-1], 1))
        self._requantize = Requantizer(program, node, weights.bias, target.shape[-1])

    def __call__(self, inputs: Inputs, out: Array, scratch: Scratch) -> None:
        padded = kernels.pad(inputs[0], self._attributes["padding"], self._zero_point, scratch)
        views = kernels.taps(padded, out.shape[1:-1], self._attributes, scratch)
        sums = scratch.take("sums", out.shape, self._dtype)
        kernels.depthwise(views, self._weight, sums, scratch.take("columns", out.shape, self._dtype))
        self._requantize(sums, out, scratch)


class Linear:
    """A matrix product over the last dimension of the tensor as the program states it, channels first."""

    def __init__(self, program: Program, node: Node) -> None:
        weights = Weights(program, node)
        self._matrix = np.ascontiguousarray(weights.codes.T, weights.dtype)
        self._requantize = Requantizer(program, node, weights.bias, 1)

    def __call__(self, inputs: Inputs, out: Array, scratch: Scratch) -> None:
        rows = np.moveaxis(inputs[0], -1, 1)  # (n, .., features)
        sums = np.matmul(rows.astype(self._matrix.dtype, copy=False), self._matrix)
        codes = np.empty(sums.shape, np.float32)
        self._requantize(sums, codes, scratch)
        np.copyto(out, np.moveaxis(codes, 1, -1))


class Add:
    """The sum of two tensors on different scales, rounded once: acc = (a - z_a) * m_0 + (b - z_b) * m_1, one shift.

    The same bound as for a product: |acc| < 2^33 and n <= 52 keep every step a multiple of 2^-n in 53 bits.
    """

    def __init__(self, program: Program, node: Node) -> None:
        scales = kernels.real_multiplier(program.constant(node, "multiplier"), program.constant(node, "shift"))
        zero_points = np.array([program.tensors[name].zero_point for name in node.inputs])
        self._scales = scales
        self._offset = 0.5 - float((scales * zero_points).sum())
        self._finish = Finish(program, node)

    def __call__(self, inputs: Inputs, out: Array, scratch: Scratch) -> None:
        total = scratch.take("product", out.shape, np.float64)
        np.copyto(total, inputs[0])
        total *= self._scales[0]
        total += self._offset
        second = scratch.take("columns", inputs[1].shape, np.float64)
        np.copyto(second, inputs[1])
        second *= self._scales[1]
        total += second
        np.floor(total, out=total)
        total += self._finish.zero_point
        self._finish(total, out)


class Multiply:
    """The product of two tensors: acc = (a - z_a) * (b - z_b)."""

    def __init__(self, program: Program, node: Node) -> None:
        self._zero_points = [program.tensors[name].zero_point for name in node.inputs]
        self._requantize = Requantizer(program, node, np.zeros(1, np.int64), 1)

    def __call__(self, inputs: Inputs, out: Array, scratch: Scratch) -> None:
        first, second = (np.subtract(a, z, dtype=np.float64) for a, z in zip(inputs, self._zero_points, strict=True))
        products = np.multiply(first, second, out=scratch.take("sums", out.shape, np.float64))
        self._requantize(products[..., None], out[..., None], scratch)


class Concat:
    """Tensors one behind another along an axis, each requantized to the output's scale."""

    def __init__(self, program: Program, node: Node) -> None:
        scales = kernels.real_multiplier(program.constant(node, "multiplier"), program.constant(node, "shift"))
        zero_points = [program.tensors[name].zero_point for name in node.inputs]
        self._rescalings = [(scale, np.float64(0.5 - zero * scale)) for scale, zero in zip(scales, zero_points, strict=True)]
        self._axis = node.attributes["axis"] or -1  # the channel is last here, spatial axes stand where they stood
        self._finish = Finish(program, node)

    def __call__(self, inputs: Inputs, out: Array, scratch: Scratch) -> None:
        start = 0
        for codes, (scale, offset) in zip(inputs, self._rescalings, strict=True):
            product = scratch.take("product", codes.shape, np.float64)
            kernels.requantize(codes, scale, offset, self._finish.zero_point, product)
            part = np.moveaxis(out, self._axis, 0)[start : start + codes.shape[self._axis]]
            self._finish(product, np.moveaxis(part, 0, self._axis))
            start += codes.shape[self._axis]


class MaxPool:
    """The largest code of each window; padding is code 0, the least."""

    def __init__(self, program: Program, node: Node) -> None:
        self._attributes = node.attributes

    def __call__(self, inputs: Inputs, out: Array, scratch: Scratch) -> None:
        padded = kernels.pad(inputs[0], self._attributes["padding"], 0, scratch)
        out.fill(0)
        for view in kernels.taps(padded, out.shape[1:-1], self._attributes, scratch):
            np.maximum(out, view, out=out)


class AvgPool:
    """The sum of each window, whose divisor is in the multiplier; padding is the zero point."""

    def __init__(self, program: Program, node: Node) -> None:
        source, target = program.tensors[node.inputs[0]], program.tensors[node.output]
        self._attributes, self._zero_point = node.attributes, source.zero_point
        taps = prod(node.attributes["kernel"])
        self._dtype = kernels.accumulator_dtype(0, taps * source.largest_code)
        addend = np.full(target.shape[0], -taps * source.zero_point, np.int64)
        self._requantize = Requantizer(program, node, addend, target.shape[-1])

    def __call__(self, inputs: Inputs, out: Array, scratch: Scratch) -> None:
        padded = kernels.pad(inputs[0], self._attributes["padding"], self._zero_point, scratch)
        sums = scratch.take("sums", out.shape, self._dtype)
        sums.fill(0)
        for view in kernels.taps(padded, out.shape[1:-1], self._attributes, scratch):
            sums += view
        self._requantize(sums, out, scratch)


class Flatten:
    """The same codes under another shape, in the order of the channels-first tensor."""

    def __init__(self, program: Program, node: Node) -> None:
        self._shape = tuple(node.attributes["shape"])

    def __call__(self, inputs: Inputs, out: Array, scratch: Scratch) -> None:
        codes = np.moveaxis(inputs[0], -1, 1).reshape(-1, *self._shape)
        np.copyto(out, np.moveaxis(codes, 1, -1))


class Table:
    """Any elementwise function, as the output code of every input code."""

    def __init__(self, program: Program, node: Node) -> None:
        self._table = program.constant(node, "table").astype(np.float32)

    def __call__(self, inputs: Inputs, out: Array, scratch: Scratch) -> None:
        np.take(self._table, inputs[0].astype(np.intp), out=out, mode="clip")


OPERATORS: dict[str, Any] = {
    "conv": Convolution,
    "linear": Linear,
    "add": Add,
    "mul": Multiply,
    "concat": Concat,
    "max_pool": MaxPool,
    "avg_pool": AvgPool,
    "flatten": Flatten,
    "table": Table,
}


def prepare(program: Program, node: Node) -> Operator:
    """The node as a callable; a convolution with one filter a channel has its own."""
    channels = {program.tensors[name].shape[0] for name in (*node.inputs, node.output)}
    if node.op == "conv" and channels == {node.attributes["groups"]} and node.attributes["groups"] > 1:
        return Depthwise(program, node)
    operator: Operator = OPERATORS[node.op](program, node)
    return operator
