"""The QDQ variant of a Program: floats between QuantizeLinear and DequantizeLinear, as tools of others expect them.

It is an approximation: runtimes fuse and round in their own ways, and ONNX rounds halves to even. `picojoule export`
with --qdq states how many codes differ. The exact model is that of search.deploy.onnx.model.
"""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np
from onnx import helper

from search.deploy.onnx.builder import INT32, Builder
from search.deploy.onnx.scanned import scanned
from search.integer.bounds import FRACTION_BITS
from search.integer.graph import Array, TensorInfo
from search.integer.program import Node, Program
from search.integer.sampling import matrix

Writer = Callable[["Quantized", Node], str]
INT32_MAX = 2**31 - 1
TINY = 2.0**-60  # a factor in the place of 0
FALL = 100  # to a part of the largest exponential, over which its slope is measured
CLOSE = 1e-3  # what a rounded multiplier may be off from the factor that it stands for


class Quantized:
    """The graph as it grows: for each tensor its codes, uint8 or uint16.

    Attributes:
        codes: tensor -> the name of its codes.
    """

    def __init__(self, builder: Builder, program: Program) -> None:
        self.b, self.program, self.codes = builder, program, dict[str, str]()

    def real(self, name: str) -> str:
        """The values of a tensor, float32."""
        info = self.program.tensors[name]
        return self.b("DequantizeLinear", self.codes[name], np.float32(info.scale), info.dtype.type(info.zero_point))

    def quantized(self, real: str, info: TensorInfo, low: int, high: int, output: str = "") -> str:
        """Codes of values, in a part of the range of their type."""
        if (low, high) != (0, np.iinfo(info.dtype).max):
            ends = (np.float32((code - info.zero_point) * info.scale) for code in (low, high))
            real = self.b("Clip", real, *ends)
        scale, zero = np.float32(info.scale), info.dtype.type(info.zero_point)
        return self.b("QuantizeLinear", real, scale, zero, output=output)

    def scaled(self, real: str, factor: float) -> str:
        """Values times a factor, unless it is 1 but for the rounding of a multiplier."""
        return real if abs(factor - 1) < CLOSE else self.b("Mul", real, np.float32(factor))

    def factors(self, node: Node) -> Array:
        """What a sum of codes is multiplied by, to codes of the output."""
        shift = self.program.constant(node, "shift").astype(np.float64)
        return self.program.constant(node, "multiplier").astype(np.float64) * 2.0**-shift

    def finished(self, node: Node, real: str, unit: float) -> str:
        """The codes of values, whose unit a code is of before an activation.

        Args:
            unit: what one code stands for.
        """
        info, (low, high) = self.program.tensors[node.output], node.attributes["clip"]
        if "table" not in node.constants:
            return self.quantized(real, info, low, high)
        code = self.b("Round", self.b("Div", real, np.float32(unit)))
        code = self.b("Add", code, np.float32(node.attributes["zero_point"] - low))
        index = self.b.cast(self.b("Clip", code, np.float32(0), np.float32(high - low)), INT32)
        return self.b("Gather", self.program.constant(node, "table"), index)

    def unit(self, node: Node) -> float:
        """What a code stands for that a node's sum becomes, before an activation that is a table."""
        return 1.0 if "table" in node.constants else self.program.tensors[node.output].scale


def _conv(q: Quantized, node: Node) -> str:
    return _convolved(q, node, q.real(node.inputs[0]), node.attributes["stride"])


def _conv_transpose(q: Quantized, node: Node) -> str:
    """A convolution over the input with zeros between its elements."""
    x, stride = q.real(node.inputs[0]), node.attributes["stride"]
    spatial = q.program.tensors[node.inputs[0]].shape[1:]
    ends = [0, 0, *[0] * len(stride), 0, 0, *(int(step > 1) for step in stride)]
    x = q.b("Pad", x, np.array(ends, np.int64), np.float32(0), mode="constant")
    for axis, (size, step) in enumerate(zip(spatial, stride, strict=True)):
        if step > 1:
            places = np.full((size - 1) * step + 1, size, np.int64)
            places[::step] = np.arange(size)
            x = q.b("Gather", x, places, axis=2 + axis)
    return _convolved(q, node, x, [1] * len(stride))


def _convolved(q: Quantized, node: Node, x: str, stride: list[int]) -> str:
    a = node.attributes
    weights, bias = _weights(q, node)
    shaped = weights.codes.reshape(len(weights.codes), -1, *a["kernel"])
    kernel = q.b("DequantizeLinear", shaped, weights.scales, np.zeros(len(shaped), np.int8), axis=0)
    pads = [pair[end] for end in (0, 1) for pair in a["padding"]]
    attributes = {"kernel_shape": a["kernel"], "strides": stride, "group": a["groups"], "pads": pads}
    attributes["dilations"] = a.get("dilation", [1] * len(stride))
    return q.finished(node, q.b("Conv", x, kernel, bias, **attributes), q.unit(node))


def _linear(q: Quantized, node: Node) -> str:
    """Features by Gemm, which runtimes fuse; rows of features by MatMul."""
    x, (weights, bias) = q.real(node.inputs[0]), _weights(q, node)
    zeros = np.zeros(len(weights.codes), np.int8)
    if len(q.program.tensors[node.inputs[0]].shape) == 1:
        matrix_of = q.b("DequantizeLinear", weights.codes, weights.scales, zeros, axis=0)
        return q.finished(node, q.b("Gemm", x, matrix_of, bias, transB=1), q.unit(node))
    matrix_of = q.b("DequantizeLinear", weights.codes.T, weights.scales, zeros, axis=1)
    return q.finished(node, q.b("Add", q.b("MatMul", x, matrix_of), bias), q.unit(node))


class _Weights(NamedTuple):
    codes: Array  # (channels, fan_in), int8
    scales: Array  # (channels,), float32, positive


def _weights(q: Quantized, node: Node) -> tuple[_Weights, str]:
    """Weights, and biases in units of the sums: the program's contain the zero point of the input."""
    program, source = q.program, q.program.tensors[node.inputs[0]]
    codes, factors = program.weights(node).astype(np.int32), q.factors(node)
    bias = program.constant(node, "bias").astype(np.int64) + source.zero_point * codes.sum(1)
    signs = np.where(factors < 0, -1, 1)
    scales = np.maximum(np.abs(factors), TINY) * q.unit(node) / source.scale
    alive = factors != 0
    weights = _Weights((codes * (signs * alive)[:, None]).astype(np.int8), scales.astype(np.float32))
    stored = np.clip(bias * signs * alive, -INT32_MAX - 1, INT32_MAX).astype(np.int32)
    steps = (scales * source.scale).astype(np.float32)
    return weights, q.b("DequantizeLinear", stored, steps, np.zeros(len(stored), np.int32), axis=0)


def _add(q: Quantized, node: Node) -> str:
    return q.finished(node, q.b("Add", *_parts(q, node)), q.unit(node))


def _concat(q: Quantized, node: Node) -> str:
    return q.finished(node, q.b("Concat", *_parts(q, node), axis=1 + node.attributes["axis"]), q.unit(node))


def _parts(q: Quantized, node: Node) -> list[str]:
    """The values of inputs with a multiplier each, which mostly stands for the ratio of two steps alone."""
    factors = np.broadcast_to(q.factors(node), len(node.inputs))
    scales = [q.program.tensors[name].scale for name in node.inputs]
    return [
        q.scaled(q.real(name), float(factor) * q.unit(node) / scale)
        for name, factor, scale in zip(node.inputs, factors, scales, strict=True)
    ]


def _mul(q: Quantized, node: Node) -> str:
    return _scaled(q, node, q.b("Mul", *(q.real(name) for name in node.inputs)))


def _matmul(q: Quantized, node: Node) -> str:
    (left, right), (first, second) = (q.real(name) for name in node.inputs), node.attributes["axes"]
    swapped = [0, 1, 3, 2]
    left = left if first == 2 else q.b("Transpose", left, perm=swapped)
    right = right if second == 1 else q.b("Transpose", right, perm=swapped)
    return _scaled(q, node, q.b("MatMul", left, right))


def _scaled(q: Quantized, node: Node, real: str, units: float | None = None) -> str:
    """Values times what a node scales them by besides the steps of its inputs."""
    taken = prod(q.program.tensors[name].scale for name in node.inputs) if units is None else units
    real = q.scaled(real, float(q.factors(node)[0]) * q.unit(node) / taken)
    return q.finished(node, real, q.unit(node))


def _max_pool(q: Quantized, node: Node) -> str:
    info = q.program.tensors[node.output]
    real = q.b("MaxPool", q.real(node.inputs[0]), **_window(node))
    return q.quantized(real, info, 0, info.largest_code)


def _avg_pool(q: Quantized, node: Node) -> str:
    source = q.program.tensors[node.inputs[0]]
    real = q.b("AveragePool", q.real(node.inputs[0]), **_window(node), count_include_pad=1)
    return _scaled(q, node, real, source.scale / prod(node.attributes["kernel"]))


def _window(node: Node) -> dict[str, Any]:
    a = node.attributes
    pads = [pair[end] for end in (0, 1) for pair in a["padding"]]
    dilated = {"dilations": a["dilation"]} if set(a.get("dilation", [1])) != {1} else {}  # what is fused may lack it
    return {"kernel_shape": a["kernel"], "strides": a["stride"], "pads": pads, **dilated}


def _resample(q: Quantized, node: Node) -> str:
    """Each axis in its turn is the last one of a product by a matrix."""
    source, a = q.program.tensors[node.inputs[0]], node.attributes
    x, rank = q.real(node.inputs[0]), len(source.shape)
    for axis, (size, starts, rows) in enumerate(zip(source.shape[1:], a["starts"], a["weights"], strict=True), 2):
        order = list(range(1 + rank))
        order[axis], order[-1] = order[-1], order[axis]
        weights = (matrix(size, starts, rows).T / a["divisors"][axis - 2]).astype(np.float32)
        x = q.b("Transpose", q.b("MatMul", q.b("Transpose", x, perm=order), weights), perm=order)
    return _scaled(q, node, x, source.scale / prod(a["divisors"]))


def _softmax(q: Quantized, node: Node) -> str:
    """Of values times what the table of exponentials falls by, from one code to the next, over the step."""
    source, info = q.program.tensors[node.inputs[0]], q.program.tensors[node.output]
    table = q.program.constant(node, "exponentials").astype(np.float64)
    last = int(np.flatnonzero(table >= table[0] / FALL)[-1])
    slope = np.log(table[0] / table[last]) / last if last else source.scale
    real = q.scaled(q.real(node.inputs[0]), float(slope) / source.scale)
    return q.quantized(q.b("Softmax", real, axis=1 + node.attributes["axis"]), info, 0, info.largest_code)


def _normalize(q: Quantized, node: Node) -> str:
    source, a = q.program.tensors[node.inputs[0]], node.attributes
    channels, *spatial = source.shape
    axes = [2 + axis for axis in a["axes"]]
    shape = np.array([-1, a["groups"], channels // a["groups"], *spatial], np.int64)
    x = q.b("Reshape", q.real(node.inputs[0]), shape)
    if a["centred"]:
        x = q.b("Sub", x, q.b("ReduceMean", x, np.array(axes, np.int64)))
    variance = q.b("ReduceMean", q.b("Mul", x, x), np.array(axes, np.int64))
    x = q.b("Div", x, q.b("Sqrt", q.b("Add", variance, np.float32(a["eps"]))))
    x = q.b("Reshape", x, np.array([-1, channels, *spatial], np.int64))
    behind, units = (-1, *[1] * len(spatial)), q.factors(node) * q.unit(node)
    scale = (units * (1 << FRACTION_BITS)).astype(np.float32).reshape(behind)
    offset = (units * q.program.constant(node, "bias")).astype(np.float32).reshape(behind)
    return q.finished(node, q.b("Add", q.b("Mul", x, scale), offset), q.unit(node))


def _take(q: Quantized, node: Node) -> str:
    x = q.codes[node.inputs[0]]
    for axis, places in enumerate(node.attributes["indices"], 1):
        x = q.b("Gather", x, np.array(places, np.int64), axis=axis) if places else x
    return x


def _permute(q: Quantized, node: Node) -> str:
    return q.b("Transpose", q.codes[node.inputs[0]], perm=[0, *(1 + axis for axis in node.attributes["axes"])])


def _reshape(q: Quantized, node: Node) -> str:
    return q.b("Reshape", q.codes[node.inputs[0]], np.array([-1, *node.attributes["shape"]], np.int64))


def _constant(q: Quantized, node: Node) -> str:
    """As many copies as there are samples."""
    return q.b.for_each_sample(q.program.constant(node, "codes"), q.program.inputs[0])


def _table(q: Quantized, node: Node) -> str:
    return q.b("Gather", q.program.constant(node, "table"), q.b.cast(q.codes[node.inputs[0]], INT32))


def written(q: Quantized, nodes: Sequence[Node], loops: bool) -> dict[str, str]:
    """Adds an operator, or a loop of some. Returns tensor -> the name of its codes, of what they compute."""

    def write(node: Node, codes: Mapping[str, str]) -> str:
        inside = Quantized(q.b, q.program)
        inside.codes = dict(codes)
        return WRITERS[node.op](inside, node)

    def kind(name: str) -> int:
        return int(helper.np_dtype_to_tensor_dtype(q.program.tensors[name].dtype))

    if loops:
        return scanned(q.b, q.program, nodes, q.codes, kind, write)
    return {node.output: write(node, q.codes) for node in nodes}


WRITERS: dict[str, Writer] = {
    "conv": _conv,
    "conv_transpose": _conv_transpose,
    "linear": _linear,
    "add": _add,
    "mul": _mul,
    "concat": _concat,
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "resample": _resample,
    "matmul": _matmul,
    "softmax": _softmax,
    "normalize": _normalize,
    "constant": _constant,
    "take": _take,
    "permute": _permute,
    "reshape": _reshape,
    "table": _table,
}
