"""The specification as loops over Python integers: slow and obvious, nothing shared with the kernels it checks."""

from itertools import product
from typing import Any

import numpy as np

from search.integer.program import Node, Program


def requantize(acc: int, multiplier: int, shift: int) -> int:
    """Half up, rounded once, in unbounded integers."""
    return (acc * multiplier + (1 << (shift - 1))) >> shift


def run(program: Program, codes: np.ndarray) -> dict[str, np.ndarray]:
    """The codes of one image, of a program with one input (*input shape), to the codes of every tensor."""
    (name,) = program.inputs
    arrays = {name: codes.astype(object)}
    for node in program.nodes:
        inputs = [arrays[name] for name in node.inputs]
        arrays[node.output] = RULES[node.op](program, node, inputs)
    return arrays


def _finish(program: Program, node: Node, value: int) -> int:
    low, high = node.attributes["clip"]
    code = min(max(value + node.attributes["zero_point"], low), high)
    return int(program.constant(node, "table")[code - low]) if "table" in node.constants else code


def _scaled(program: Program, node: Node, acc: int, index: int) -> int:
    multiplier, shift = program.constant(node, "multiplier")[index], program.constant(node, "shift")[index]
    return _finish(program, node, requantize(acc, int(multiplier), int(shift)))


def _empty(program: Program, node: Node) -> np.ndarray:
    return np.empty(program.tensors[node.output].shape, object)


def _zero(program: Program, node: Node, index: int = 0) -> int:
    return program.tensors[node.inputs[index]].zero_point


def _window(x: np.ndarray, node: Node, place: tuple[int, ...], fill: int) -> Any:
    """Each tap of the window at an output pixel, with what it meets: (tap, codes of all channels)."""
    attributes = node.attributes
    dilation = attributes.get("dilation", [1] * len(attributes["kernel"]))
    for tap in product(*map(range, attributes["kernel"])):
        at = [
            p * s + t * d - pads[0]
            for p, s, t, d, pads in zip(place, attributes["stride"], tap, dilation, attributes["padding"], strict=True)
        ]
        inside = all(0 <= i < size for i, size in zip(at, x.shape[1:], strict=True))
        yield tap, [x[(channel, *at)] if inside else fill for channel in range(len(x))]


def _conv(program: Program, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    out, x, groups = _empty(program, node), inputs[0], node.attributes["groups"]
    depth, per_group = len(x) // groups, len(out) // groups
    weights = program.weights(node).astype(object).reshape(len(out), depth, *node.attributes["kernel"])
    for channel, *place in product(*map(range, out.shape)):
        first = channel // per_group * depth
        acc = int(program.constant(node, "bias")[channel])
        for tap, pixel in _window(x, node, place, _zero(program, node)):
            acc += sum(weights[(channel, c, *tap)] * pixel[first + c] for c in range(depth))
        out[(channel, *place)] = _scaled(program, node, acc, channel)
    return out


def _linear(program: Program, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    out, weights = _empty(program, node), program.weights(node).astype(object)
    for *row, feature in product(*map(range, out.shape)):
        acc = int(program.constant(node, "bias")[feature]) + (weights[feature] * inputs[0][tuple(row)]).sum()
        out[(*row, feature)] = _scaled(program, node, acc, feature)
    return out


def _elementwise(program: Program, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    out = _empty(program, node)
    first, second = (np.broadcast_to(x - _zero(program, node, i), out.shape) for i, x in enumerate(inputs))
    multiplier, shift = program.constant(node, "multiplier").astype(object), int(program.constant(node, "shift")[0])
    for place in product(*map(range, out.shape)):
        if node.op == "add":
            acc, factor = first[place] * int(multiplier[0]) + second[place] * int(multiplier[1]), 1
        else:
            acc, factor = first[place] * second[place], int(multiplier[0])
        out[place] = _finish(program, node, requantize(acc, factor, shift))
    return out


def _concat(program: Program, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    parts = []
    for index, x in enumerate(inputs):
        part = np.empty(x.shape, object)
        for place in product(*map(range, x.shape)):
            part[place] = _scaled(program, node, x[place] - _zero(program, node, index), index)
        parts.append(part)
    return np.concatenate(parts, axis=node.attributes["axis"])


def _max_pool(program: Program, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    out = _empty(program, node)
    for channel, *place in product(*map(range, out.shape)):
        out[(channel, *place)] = max(pixel[channel] for _, pixel in _window(inputs[0], node, place, 0))
    return out


def _avg_pool(program: Program, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    out, zero = _empty(program, node), _zero(program, node)
    for channel, *place in product(*map(range, out.shape)):
        acc = sum(pixel[channel] - zero for _, pixel in _window(inputs[0], node, place, zero))
        out[(channel, *place)] = _scaled(program, node, acc, 0)
    return out


def _flatten(program: Program, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    return inputs[0].reshape(node.attributes["shape"])


def _upsample(program: Program, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    out = _empty(program, node)
    for channel, *place in product(*map(range, out.shape)):
        source = [p // times for p, times in zip(place, node.attributes["factor"], strict=True)]
        out[(channel, *place)] = inputs[0][(channel, *source)]
    return out


def _table(program: Program, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    return program.constant(node, "table")[inputs[0].astype(int)].astype(object)


RULES = {
    "conv": _conv,
    "linear": _linear,
    "add": _elementwise,
    "mul": _elementwise,
    "concat": _concat,
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "upsample": _upsample,
    "flatten": _flatten,
    "table": _table,
}
