"""The writer of each operator: ONNX nodes that compute its integers, as docs/methods.md, section 5, states them.

A tensor of codes is int32, (n, *shape). Nothing between the inputs and the outputs is a float. Products of codes and
weights are those of unsigned bytes by unsigned bytes, since processors without VNNI saturate sums of unsigned by signed
ones; codes of more than 8 bits are two bytes.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from search.deploy.onnx.builder import INT32, INT64, UINT8, UINT64, Builder
from search.integer.bounds import FRACTION_BITS, integer_eps
from search.integer.graph import Array
from search.integer.program import Node, Program
from search.integer.reducing import ROOT_BITS
from search.integer.sampling import matrix

ZERO = 128  # of weights as unsigned bytes
Writer = Callable[[Builder, Program, Node, Sequence[str]], str]


def _conv(b: Builder, program: Program, node: Node, inputs: Sequence[str]) -> str:
    return _convolved(b, program, node, inputs[0], node.attributes["stride"])


def _conv_transpose(b: Builder, program: Program, node: Node, inputs: Sequence[str]) -> str:
    """A convolution over the input with zeros between its elements."""
    x, source = inputs[0], program.tensors[node.inputs[0]]
    stride, spatial = node.attributes["stride"], source.shape[1:]
    x = b.padded(x, [[0, int(step > 1)] for step in stride], source.zero_point)
    for axis, (size, step) in enumerate(zip(spatial, stride, strict=True)):
        if step > 1:
            places = np.full((size - 1) * step + 1, size, np.int64)  # the padding
            places[::step] = np.arange(size)
            x = b("Gather", x, places, axis=2 + axis)
    return _convolved(b, program, node, x, [1] * len(stride))


def _convolved(b: Builder, program: Program, node: Node, x: str, stride: list[int]) -> str:
    a, source = node.attributes, program.tensors[node.inputs[0]]
    weights = program.weights(node)
    shaped = weights.reshape(len(weights), -1, *a["kernel"])
    x = b.padded(x, a["padding"], source.zero_point)
    attributes = {"kernel_shape": a["kernel"], "strides": stride, "group": a["groups"]}
    attributes["dilations"] = a.get("dilation", [1] * len(stride))
    return _ended(b, program, node, _products(b, "ConvInteger", x, shaped, source.bits, **attributes))


def _linear(b: Builder, program: Program, node: Node, inputs: Sequence[str]) -> str:
    bits = program.tensors[node.inputs[0]].bits
    return _ended(b, program, node, _products(b, "MatMulInteger", inputs[0], program.weights(node).T, bits))


def _products(b: Builder, op: str, x: str, weights: Array, bits: int, **attributes: Any) -> str:
    """Sums of products of codes and weights. int32."""
    stored = (weights.astype(np.int16) + ZERO).astype(np.uint8)
    zeros = np.uint8(0), np.uint8(ZERO)
    if bits <= 8:
        return b(op, b.cast(x, UINT8), stored, *zeros, **attributes)
    high = b.cast(b("BitShift", b.cast(x, UINT64), np.uint64(8), direction="RIGHT"), INT32)
    low = b("Sub", x, b("Mul", high, np.int32(256)))
    parts = [b(op, b.cast(part, UINT8), stored, *zeros, **attributes) for part in (low, high)]
    return b("Add", parts[0], b("Mul", parts[1], np.int32(256)))


def _add(b: Builder, program: Program, node: Node, inputs: Sequence[str]) -> str:
    parts = [
        b("Mul", x, np.int64(factor))
        for x, factor in zip(_centred(b, program, node, inputs), program.constant(node, "multiplier"), strict=True)
    ]
    return _finished(b, program, node, b("Add", *parts), (np.ones(1, np.int64), program.constant(node, "shift")))


def _mul(b: Builder, program: Program, node: Node, inputs: Sequence[str]) -> str:
    return _ended(b, program, node, b("Mul", *_centred(b, program, node, inputs)))


def _concat(b: Builder, program: Program, node: Node, inputs: Sequence[str]) -> str:
    multiplier, shift = program.constant(node, "multiplier"), program.constant(node, "shift")
    parts = [
        _finished(b, program, node, x, (multiplier[index], shift[index]))
        for index, x in enumerate(_centred(b, program, node, inputs))
    ]
    return b("Concat", *parts, axis=1 + node.attributes["axis"])


def _centred(b: Builder, program: Program, node: Node, inputs: Sequence[str]) -> list[str]:
    """Codes without their zero points. int64."""
    zeros = [program.tensors[name].zero_point for name in node.inputs]
    return [b("Sub", b.cast(x, INT64), np.int64(zero)) for x, zero in zip(inputs, zeros, strict=True)]


def _max_pool(b: Builder, program: Program, node: Node, inputs: Sequence[str]) -> str:
    x = b.padded(inputs[0], node.attributes["padding"], 0)
    return b.windows(x, node.attributes, program.tensors[node.output].shape[1:], "ReduceMax")


def _avg_pool(b: Builder, program: Program, node: Node, inputs: Sequence[str]) -> str:
    zero, shape = program.tensors[node.inputs[0]].zero_point, program.tensors[node.output].shape
    x = b.padded(inputs[0], node.attributes["padding"], zero)
    sums = b.windows(x, node.attributes, shape[1:], "ReduceSum")
    return _ended(b, program, node, b("Sub", sums, np.int32(zero * prod(node.attributes["kernel"]))))


def _resample(b: Builder, program: Program, node: Node, inputs: Sequence[str]) -> str:
    """Each axis in its turn is the last one of a product by a matrix."""
    source, a = program.tensors[node.inputs[0]], node.attributes
    (x,), rank = _centred(b, program, node, inputs), len(source.shape)
    for axis, (size, starts, rows) in enumerate(zip(source.shape[1:], a["starts"], a["weights"], strict=True), 2):
        order = list(range(1 + rank))
        order[axis], order[-1] = order[-1], order[axis]
        x = b("Transpose", b("MatMul", b("Transpose", x, perm=order), matrix(size, starts, rows).T), perm=order)
    return _ended(b, program, node, x)


def _matmul(b: Builder, program: Program, node: Node, inputs: Sequence[str]) -> str:
    left, right = _centred(b, program, node, inputs)
    first, second = node.attributes["axes"]
    swapped = [0, 1, 3, 2]
    left = left if first == 2 else b("Transpose", left, perm=swapped)
    right = right if second == 1 else b("Transpose", right, perm=swapped)
    return _ended(b, program, node, b("MatMul", left, right))


def _softmax(b: Builder, program: Program, node: Node, inputs: Sequence[str]) -> str:
    axis, bits = 1 + node.attributes["axis"], program.tensors[node.output].bits
    distance = b("Sub", b.reduced("ReduceMax", inputs[0], [axis]), inputs[0])
    each = b("Gather", program.constant(node, "exponentials").astype(np.int64), distance)
    total = b.reduced("ReduceSum", each, [axis])
    half = b("Div", total, np.int64(2))
    shares = b("Div", b("Add", b("Mul", each, np.int64(1 << bits)), half), total)
    return b.cast(b("Min", shares, np.int64((1 << bits) - 1)), INT32)


def _normalize(b: Builder, program: Program, node: Node, inputs: Sequence[str]) -> str:
    source, a = program.tensors[node.inputs[0]], node.attributes
    channels, *spatial = source.shape
    groups, axes = a["groups"], [2 + axis for axis in a["axes"]]
    count = prod(source.shape[axis] for axis in a["axes"]) // groups
    (codes,) = _centred(b, program, node, inputs)
    x = b("Reshape", codes, np.array([-1, groups, channels // groups, *spatial], np.int64))
    squares = b("Mul", b.reduced("ReduceSum", b("Mul", x, x), axes), np.int64(count))
    squares = b("Add", squares, np.int64(integer_eps(a["eps"], count, source.scale)))
    deviations = b("Mul", x, np.int64(count))
    if a["centred"]:
        total = b.reduced("ReduceSum", x, axes)
        deviations, squares = b("Sub", deviations, total), b("Sub", squares, b("Mul", total, total))
    values = _over_root(b, deviations, b("Max", squares, np.int64(1)))
    return _ended(b, program, node, b("Reshape", values, np.array([-1, channels, *spatial], np.int64)))


def _over_root(b: Builder, d: str, w: str) -> str:
    """floor(d * 2^16 / sqrt(w) + 1/2), with the root to 16 bits. d, w: int64, 1 <= w < 2^62."""
    bits, left = b.constant(np.int64(1)), w
    for step in (32, 16, 8, 4, 2, 1):  # of w, by halves
        upper = b.cast(b("BitShift", b.cast(left, UINT64), np.uint64(step), direction="RIGHT"), INT64)
        more = b("Greater", upper, np.int64(0))
        bits, left = b("Add", bits, b("Mul", b.cast(more, INT64), np.int64(step))), b("Where", more, upper, left)
    half = b("Sub", b("Div", b("Add", bits, np.int64(ROOT_BITS + 1)), np.int64(2)), np.int64(ROOT_BITS))
    down, up = (b.cast(b("Max", b("Mul", half, np.int64(by)), np.int64(0)), UINT64) for by in (2, -2))
    large = b("BitShift", b("BitShift", b.cast(w, UINT64), down, direction="RIGHT"), up, direction="LEFT")
    large, root = b.cast(large, INT64), b.constant(np.int64(0))
    for bit in reversed(range(ROOT_BITS // 2)):
        larger = b("Add", root, np.int64(1 << bit))
        root = b("Where", b("Greater", b("Mul", larger, larger), large), root, larger)
    inverse = b("Div", np.int64(1 << ROOT_BITS - 1), root)
    shift = b.cast(b("Add", half, np.int64(ROOT_BITS - 1 - FRACTION_BITS)), UINT64)
    one = b("BitShift", np.uint64(1), shift, direction="LEFT")
    unit = b.cast(b("BitShift", one, np.uint64(1), direction="RIGHT"), INT64)
    return b.floor_shift(b("Add", b("Mul", d, inverse), unit), shift)


def _take(b: Builder, program: Program, node: Node, inputs: Sequence[str]) -> str:
    x = inputs[0]
    for axis, places in enumerate(node.attributes["indices"], 1):
        x = b("Gather", x, np.array(places, np.int64), axis=axis) if places else x
    return x


def _permute(b: Builder, program: Program, node: Node, inputs: Sequence[str]) -> str:
    return b("Transpose", inputs[0], perm=[0, *(1 + axis for axis in node.attributes["axes"])])


def _reshape(b: Builder, program: Program, node: Node, inputs: Sequence[str]) -> str:
    return b("Reshape", inputs[0], np.array([-1, *node.attributes["shape"]], np.int64))


def _constant(b: Builder, program: Program, node: Node, inputs: Sequence[str]) -> str:
    """As many copies as there are samples."""
    return b.for_each_sample(program.constant(node, "codes").astype(np.int32), program.inputs[0])


def _table(b: Builder, program: Program, node: Node, inputs: Sequence[str]) -> str:
    return b("Gather", program.constant(node, "table").astype(np.int32), inputs[0])


def _ended(b: Builder, program: Program, node: Node, acc: str) -> str:
    """The requantization of a node that has a multiplier, and perhaps a bias, for all channels or for each."""
    multiplier, shift = program.constant(node, "multiplier"), program.constant(node, "shift")
    acc = b.cast(acc, INT64)
    axis = len(program.tensors[node.output].shape) - 1 if node.operator.channel_axis else 0
    behind = (-1, *[1] * (len(program.tensors[node.output].shape) - 1 - axis)) if multiplier.size > 1 else (-1,)
    if "bias" in node.constants:
        acc = b("Add", acc, program.constant(node, "bias").astype(np.int64).reshape(behind))
    return _finished(b, program, node, acc, (multiplier.reshape(behind), shift.reshape(behind)))


def _finished(b: Builder, program: Program, node: Node, acc: str, factors: tuple[Array, Array]) -> str:
    """clip(((acc * m + 2^(n-1)) >> n) + zero point, low, high), and the table of an activation. acc: int64."""
    multiplier, shift = (np.asarray(each).astype(np.int64) for each in factors)
    low, high = node.attributes["clip"]
    total = b("Add", b("Mul", acc, multiplier), np.left_shift(np.int64(1), shift - 1))
    code = b("Add", b.floor_shift(total, shift.astype(np.uint64)), np.int64(node.attributes["zero_point"]))
    code = b.cast(b("Clip", code, np.int64(low), np.int64(high)), INT32)
    if "table" not in node.constants:
        return code
    index = b("Sub", code, np.int32(low)) if low else code
    return b("Gather", program.constant(node, "table").astype(np.int32), index)


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
