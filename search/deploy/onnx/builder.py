"""ONNX nodes, one after another, and the constants that they share."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from search.integer.graph import Array

INT32, INT64, UINT8, UINT64, FLOAT = (
    TensorProto.INT32,
    TensorProto.INT64,
    TensorProto.UINT8,
    TensorProto.UINT64,
    TensorProto.FLOAT,
)
Value = str | Array | np.generic  # the name of a tensor, or a constant
ABOVE = 62  # no sum has as many bits: 2^62 more makes it positive


class Builder:
    """Nodes in execution order. An argument is the name of a tensor, or an array, which becomes a constant."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[tuple[str, tuple[int, ...], bytes], onnx.TensorProto] = {}
        self._numbers = count()

    def __call__(self, op: str, *arguments: Value, output: str = "", **attributes: Any) -> str:
        """Adds a node, and returns the name of its output."""
        name = output or f"{op}_{next(self._numbers)}"
        inputs = [each if isinstance(each, str) else self.constant(each) for each in arguments]
        self.nodes.append(helper.make_node(op, inputs, [name], name, **attributes))
        return name

    @contextmanager
    def body(self) -> Iterator[list[onnx.NodeProto]]:
        """Inside it nodes are added to the list that it gives: those of a graph in an operator."""
        outer, self.nodes = self.nodes, []
        try:
            yield self.nodes
        finally:
            self.nodes = outer

    def constant(self, values: Array | np.generic) -> str:
        """The name of a constant. Equal ones are stored once."""
        array = np.asarray(values, order="C")
        key = array.dtype.str, array.shape, array.tobytes()
        if key not in self.constants:
            self.constants[key] = numpy_helper.from_array(array, f"constant_{len(self.constants)}")
        return self.constants[key].name

    def for_each_sample(self, values: Array, of: str) -> str:
        """As many copies of values, (*shape), as the network's input has samples: (n, *shape). of: that input."""
        samples = self("Shape", of, start=0, end=1)
        return self("Expand", values[None], self("Concat", samples, np.array(values.shape, np.int64), axis=0))

    def cast(self, x: str, to: int) -> str:
        return self("Cast", x, to=to)

    def floor_shift(self, x: str, shift: str | Array) -> str:
        """x >> shift, rounded down. x: int64 of less than 62 bits; shift: uint64, up to 62.

        ONNX shifts what has no sign, so 2^62, of which the shift leaves a whole number, is added before.
        """
        raised = self.cast(self("Add", x, np.int64(1 << ABOVE)), UINT64)
        shifted = self.cast(self("BitShift", raised, shift, direction="RIGHT"), INT64)
        if isinstance(shift, str):
            surplus = self.cast(self("BitShift", np.uint64(1 << ABOVE), shift, direction="RIGHT"), INT64)
            return self("Sub", shifted, surplus)
        return self("Sub", shifted, np.int64(1 << ABOVE) >> shift.astype(np.int64))

    def padded(self, x: str, pairs: list[list[int]], value: int) -> str:
        """Elements around the spatial axes of a tensor of codes, (n, C, *size)."""
        if not any(map(any, pairs)):
            return x
        ends = [[0, 0, *(pair[end] for pair in pairs)] for end in (0, 1)]
        return self("Pad", x, np.array(ends, np.int64).reshape(-1), np.int32(value), mode="constant")

    def windows(self, x: str, attributes: dict[str, Any], outputs: tuple[int, ...], reduce: str) -> str:
        """The sums or maxima of sliding windows over padded codes, an axis at a time. int32."""
        dilation = attributes.get("dilation", [1] * len(outputs))
        each = zip(outputs, attributes["kernel"], attributes["stride"], dilation, strict=True)
        for axis, (size, taps, step, gap) in enumerate(each, 2):
            if taps > 1 or step > 1:
                places = step * np.arange(size)[:, None] + gap * np.arange(taps)
                x = self.reduced(reduce, self("Gather", x, places.astype(np.int64), axis=axis), [axis + 1], keep=False)
        return x

    def reduced(self, op: str, x: str, axes: list[int], keep: bool = True) -> str:
        """ReduceSum takes its axes as an input, ReduceMax (of this version of the operators) as an attribute."""
        if op == "ReduceSum":
            return self(op, x, np.array(axes, np.int64), keepdims=int(keep))
        return self(op, x, axes=axes, keepdims=int(keep))
