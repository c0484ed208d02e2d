"""Kernels of the nodes that have weights: convolutions of any dimension, and linear layers."""

from math import prod

import numpy as np

from search.integer import kernels, windows
from search.integer.kernels import Array, Repeated, Scratch
from search.integer.node_kernels import Inputs, Prepared, from_batch_first, requantizer, to_batch_first
from search.integer.program import Node, Program

SHORT_DEPTH = 8  # terms of a matrix product's sums: with fewer, all taps go into one product


class WeightCodes:
    """Codes and biases of a conv or linear node, and the float type in which its sums are exact."""

    def __init__(self, program: Program, node: Node) -> None:
        self.codes = program.weights(node)  # (channels, fan_in)
        self.bias = program.constant(node, "bias").astype(np.int64)
        largest = program.tensors[node.inputs[0]].largest_code
        negative = int(np.minimum(self.codes, 0).sum(axis=1, dtype=np.int64).min())
        positive = int(np.maximum(self.codes, 0).sum(axis=1, dtype=np.int64).max())
        self.dtype = kernels.accumulator_dtype(negative * largest, positive * largest)


class Convolution:
    """Any number of dimensions and groups. Taps of the last dimension go into a matrix product; others are added."""

    whole = False

    def __init__(self, program: Program, node: Node) -> None:
        weights, self._attributes = WeightCodes(program, node), node.attributes
        self._zero_point, self._dtype = program.tensors[node.inputs[0]].zero_point, weights.dtype
        self._groups, kernel = node.attributes["groups"], node.attributes["kernel"]
        codes = weights.codes.reshape(self._groups, len(weights.codes) // self._groups, -1, prod(kernel))
        short = codes.shape[2] * kernel[-1] < SHORT_DEPTH
        self._outer = 0 if short else len(kernel) - 1  # dimensions whose taps are added
        taps = prod(kernel[: self._outer])
        by_tap = codes.reshape(*codes.shape[:3], taps, -1).transpose(3, 0, 4, 2, 1)
        matrices = np.ascontiguousarray(by_tap, self._dtype)  # (taps added, groups, taps in a product, c_in, c_out)
        self._matrices = matrices.reshape(taps, self._groups, -1, codes.shape[1])
        self._requantize = requantizer(program, node, weights.bias)

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
        """A matrix product for each group, or for each line where the lines lie apart.

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
        weights, self._attributes = WeightCodes(program, node), node.attributes
        self._zero_point, self._dtype = program.tensors[node.inputs[0]].zero_point, weights.dtype
        by_channel = weights.codes.T.reshape(*node.attributes["kernel"], -1).astype(self._dtype)
        self._weight = Repeated(by_channel, windows.FILTER_PERIOD)
        self._requantize = requantizer(program, node, weights.bias)

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
        weights = WeightCodes(program, node)
        self._matrix = np.ascontiguousarray(weights.codes.T, weights.dtype)
        self._requantize = requantizer(program, node, weights.bias)

    def __call__(self, inputs: Inputs, out: Array, lines: range, scratch: Scratch) -> None:
        rows = np.ascontiguousarray(to_batch_first(inputs[0]), self._matrix.dtype)  # (n, .., features)
        sums = np.matmul(rows, self._matrix)
        codes = np.empty(sums.shape, out.dtype)
        self._requantize(sums, codes, scratch)
        out[...] = from_batch_first(codes)


def convolution(program: Program, node: Node) -> Prepared:
    """A convolution with one filter a channel has its own kernel."""
    channels = {program.tensors[name].shape[0] for name in (*node.inputs, *node.outputs)}
    own = channels == {node.attributes["groups"]} and node.attributes["groups"] > 1
    return Depthwise(program, node) if own else Convolution(program, node)
