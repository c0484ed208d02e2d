"""Kernels of resampled maps and of transposed convolutions."""

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from search.integer import kernels
from search.integer.kernels import Array, Scratch
from search.integer.node_kernels import Inputs, requantizer
from search.integer.program import Node, Program
from search.integer.weighted import convolution


class Resample:
    """Each spatial axis resized by whole weights, rounded once: acc = the sum of weights of all axes times (x - z)."""

    whole = True

    def __init__(self, program: Program, node: Node) -> None:
        source = program.tensors[node.inputs[0]]
        self._zero_point = source.zero_point
        matrices = [
            matrix(size, starts, rows)
            for size, starts, rows in zip(
                source.shape[1:], node.attributes["starts"], node.attributes["weights"], strict=True
            )
        ]
        bound = source.largest_code * prod(int(np.abs(each).sum(1).max()) for each in matrices)
        self._dtype = kernels.accumulator_dtype(-bound, bound)
        self._matrices = [each.astype(self._dtype) for each in matrices]
        self._requantize = requantizer(program, node, np.zeros(1, np.int64))

    def __call__(self, inputs: Inputs, out: Array, lines: range, scratch: Scratch) -> None:
        sums = np.subtract(inputs[0], self._zero_point, dtype=self._dtype)
        for axis, each in enumerate(self._matrices):
            sums = np.moveaxis(np.tensordot(each, sums, (1, axis)), 0, axis)
        self._requantize(np.ascontiguousarray(sums), out, scratch)


def matrix(size: int, starts: list[int], rows: list[list[int]]) -> Array:
    """(places, size), whole numbers."""
    made = np.zeros((len(rows), size), np.int64)
    for place, (start, row) in enumerate(zip(starts, rows, strict=True)):
        made[place, start : start + len(row)] = row
    return made


class TransposedConvolution:
    """A convolution over the input with zeros between its elements."""

    whole = True

    def __init__(self, program: Program, node: Node) -> None:
        self._stride = node.attributes["stride"]
        self._zero_point = program.tensors[node.inputs[0]].zero_point
        dense: dict[str, Any] = {**node.attributes, "stride": [1] * len(self._stride)}
        self._convolution = convolution(program, replace(node, attributes=dense))

    def __call__(self, inputs: Inputs, out: Array, lines: range, scratch: Scratch) -> None:
        codes = inputs[0]
        size = [(n - 1) * step + 1 for n, step in zip(codes.shape, self._stride, strict=False)]
        spread = np.full((*size, *codes.shape[-2:]), self._zero_point, codes.dtype)
        spread[tuple(slice(None, None, step) for step in self._stride)] = codes
        self._convolution([spread], out, lines, scratch)
