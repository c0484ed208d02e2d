"""The kernels: each node becomes a prepared operator, with multipliers made real once, from codes to codes."""

from collections.abc import Callable
from math import prod

import numpy as np

from search.integer import kernels, windows
from search.integer.kernels import Array, Requantizer, Scratch
from search.integer.moving import Permute, Reshape, Take
from search.integer.node_kernels import Inputs, Prepared, finish, requantizer, strip_of
from search.integer.program import Node, Program
from search.integer.reducing import MatMul, Normalize, Softmax
from search.integer.sampling import Resample, TransposedConvolution
from search.integer.stored import Constant
from search.integer.weighted import Linear, convolution


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
        self._requantize = Requantizer(unit, int(shift[0]), np.array([-zero]), finish(program, node))

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
        self._requantize = requantizer(program, node, np.zeros(1, np.int64))

    def __call__(self, inputs: Inputs, out: Array, lines: range, scratch: Scratch) -> None:
        target = out[lines.start : lines.stop]
        parts = zip(inputs, self._zero_points, strict=True)
        first, second = (np.subtract(strip_of(codes, lines), zero, dtype=self._dtype) for codes, zero in parts)
        sums = np.multiply(first, second, out=scratch.take("sums", target.shape, self._dtype))
        self._requantize(sums, target, scratch)


class Concat:
    """Tensors one after another along an axis, each requantized to the scale of the output."""

    def __init__(self, program: Program, node: Node) -> None:
        multiplier, shift = program.constant(node, "multiplier"), program.constant(node, "shift")
        scales, end = kernels.real_multiplier(multiplier, shift), finish(program, node)
        self._requantizers = [
            Requantizer(scales[index, None], int(shift[index]), np.array([-program.tensors[name].zero_point]), end)
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
    """The largest code of each window. Padding is code 0, which is the lowest."""

    whole = False

    def __init__(self, program: Program, node: Node) -> None:
        self._attributes = node.attributes

    def __call__(self, inputs: Inputs, out: Array, lines: range, scratch: Scratch) -> None:
        target = out[lines.start : lines.stop]
        strip = windows.load(inputs[0], lines, self._attributes, 0, (scratch, out.dtype))
        view = windows.windows(strip, target.shape[:-2], self._attributes)
        np.max(view, axis=windows.tap_axes(view), out=target)


class AvgPool:
    """The sum of each window. The multiplier contains the division, and padding is the zero point."""

    whole = False

    def __init__(self, program: Program, node: Node) -> None:
        source, taps = program.tensors[node.inputs[0]], prod(node.attributes["kernel"])
        self._attributes, self._zero_point = node.attributes, source.zero_point
        self._dtype = kernels.accumulator_dtype(0, taps * source.largest_code)
        self._requantize = requantizer(program, node, np.array([-taps * source.zero_point]))

    def __call__(self, inputs: Inputs, out: Array, lines: range, scratch: Scratch) -> None:
        target = out[lines.start : lines.stop]
        strip = windows.load(inputs[0], lines, self._attributes, self._zero_point, (scratch, inputs[0].dtype))
        view = windows.windows(strip, target.shape[:-2], self._attributes)
        sums = scratch.take("sums", target.shape, self._dtype)
        np.sum(view, axis=windows.tap_axes(view), dtype=self._dtype, out=sums)
        self._requantize(sums, target, scratch)


class LookUp:
    """Any elementwise function, as the output code of every input code."""

    whole = False

    def __init__(self, program: Program, node: Node) -> None:
        self._table = program.constant(node, "table")

    def __call__(self, inputs: Inputs, out: Array, lines: range, scratch: Scratch) -> None:
        out[lines.start : lines.stop] = self._table[inputs[0][lines.start : lines.stop]]


KERNELS: dict[str, Callable[[Program, Node], Prepared]] = {
    "conv": convolution,
    "linear": Linear,
    "add": Add,
    "mul": Multiply,
    "concat": Concat,
    "max_pool": MaxPool,
    "avg_pool": AvgPool,
    "conv_transpose": TransposedConvolution,
    "resample": Resample,
    "matmul": MatMul,
    "softmax": Softmax,
    "normalize": Normalize,
    "constant": Constant,
    "take": Take,
    "permute": Permute,
    "reshape": Reshape,
    "table": LookUp,
}


def prepared_operator(program: Program, node: Node) -> Prepared:
    """The node as a callable."""
    return KERNELS[node.op](program, node)
