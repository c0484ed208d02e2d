"""Kernels of products of two tensors, and of what measures each sample: softmax and norms. docs/methods.md, section 5.

All of them work on arrays (n, *shape), channels first, of int64 or of floats that hold every integer that occurs.
"""

from math import prod

import numpy as np

from search.integer import kernels
from search.integer.bounds import FRACTION_BITS, integer_eps
from search.integer.kernels import Array, Scratch
from search.integer.node_kernels import Inputs, from_batch_first, requantizer, to_batch_first
from search.integer.program import Node, Program

ROOT_BITS = 32  # of a variance, brought to this size before its root is taken


class MatMul:
    """(heads, M, K) times (heads, K, P): acc = the sum over K of (a - z_a) * (b - z_b)."""

    whole = True

    def __init__(self, program: Program, node: Node) -> None:
        infos = [program.tensors[name] for name in node.inputs]
        first, second = node.attributes["axes"]
        self._orders = (0, 1, *((2, 3) if first == 2 else (3, 2))), (0, 1, *((2, 3) if second == 1 else (3, 2)))
        self._zero_points = [info.zero_point for info in infos]
        bound = infos[0].shape[first] * prod(info.largest_code for info in infos)
        self._dtype = kernels.accumulator_dtype(-bound, bound)
        self._requantize = requantizer(program, node, np.zeros(1, np.int64))

    def __call__(self, inputs: Inputs, out: Array, lines: range, scratch: Scratch) -> None:
        left, right = (
            np.subtract(to_batch_first(codes), zero, dtype=self._dtype).transpose(order)
            for codes, zero, order in zip(inputs, self._zero_points, self._orders, strict=True)
        )
        sums = np.ascontiguousarray(from_batch_first(np.matmul(left, right)))
        self._requantize(sums, out, scratch)


class Softmax:
    """code = min((2^bits e + S / 2) / S, 2^bits - 1), with e = exponentials[largest code - code], S their sum."""

    whole = True

    def __init__(self, program: Program, node: Node) -> None:
        self._exponentials = program.constant(node, "exponentials").astype(np.int64)
        self._axis, self._bits = 1 + node.attributes["axis"], program.tensors[node.output].bits

    def __call__(self, inputs: Inputs, out: Array, lines: range, scratch: Scratch) -> None:
        codes = to_batch_first(inputs[0]).astype(np.int64)
        each = self._exponentials[codes.max(self._axis, keepdims=True) - codes]
        total = each.sum(self._axis, keepdims=True)
        shares = ((each << self._bits) + (total >> 1)) // total
        out[...] = from_batch_first(np.minimum(shares, (1 << self._bits) - 1))


class Normalize:
    """d / sqrt(W) with 16 bits behind the point, d = R (x - z) - sum, W = R sum of squares - sum^2 + R^2 eps / s^2."""

    whole = True

    def __init__(self, program: Program, node: Node) -> None:
        source, attributes = program.tensors[node.inputs[0]], node.attributes
        self._zero_point, self._groups, self._centred = source.zero_point, attributes["groups"], attributes["centred"]
        self._axes = tuple(2 + axis for axis in attributes["axes"])
        self._count = prod(source.shape[axis] for axis in attributes["axes"]) // self._groups
        self._eps = integer_eps(attributes["eps"], self._count, source.scale)
        self._requantize = requantizer(program, node, program.constant(node, "bias").astype(np.int64))

    def __call__(self, inputs: Inputs, out: Array, lines: range, scratch: Scratch) -> None:
        codes = to_batch_first(inputs[0]).astype(np.int64) - self._zero_point
        groups = codes.reshape(len(codes), self._groups, codes.shape[1] // self._groups, *codes.shape[2:])
        total = groups.sum(self._axes, keepdims=True)
        squares = self._count * np.square(groups).sum(self._axes, keepdims=True) + self._eps
        deviations = self._count * groups
        if self._centred:
            deviations, squares = deviations - total, squares - np.square(total)
        values = over_root(deviations, np.maximum(squares, 1)).reshape(codes.shape)
        self._requantize(np.ascontiguousarray(from_batch_first(values), np.float64), out, scratch)


def over_root(d: Array, w: Array) -> Array:
    """floor(d * 2^16 / sqrt(w) + 1/2), with the root to 16 bits. d, w: int64, w >= 1."""
    bits = np.frexp(w.astype(np.float64))[1].astype(np.int64)
    bits -= w >> (bits - 1) == 0  # where w was rounded up to a power of two
    half = (bits - ROOT_BITS + 1) >> 1
    large = np.where(half > 0, w >> np.maximum(2 * half, 0), w << np.maximum(-2 * half, 0))
    root = np.floor(np.sqrt(large.astype(np.float64))).astype(np.int64)  # exact, since large < 2^32
    inverse = (1 << ROOT_BITS - 1) // root
    shift = ROOT_BITS - 1 + half - FRACTION_BITS
    values: Array = (d * inverse + ((np.int64(1) << shift) >> 1)) >> shift
    return values
