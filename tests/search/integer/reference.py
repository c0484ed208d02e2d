"""The specification as loops over Python integers: slow and obvious, nothing shared with the kernels it checks."""

from collections.abc import Iterator
from itertools import product
from math import floor, isqrt, prod
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
    place = 0
    while place < len(program.nodes):
        loop = program.nodes[place].loop
        inside = [node for node in program.nodes if loop and node.loop == loop] or [program.nodes[place]]
        for time in range(program.tensors[inside[0].inputs[0]].shape[-1] if loop else 1):
            for node in inside:
                arrays[node.output] = _at(program, node, arrays, time)
        place += len(inside)
    return arrays


def _at(program: Program, node: Node, arrays: dict[str, np.ndarray], time: int) -> np.ndarray:
    """What a node gives at one time of its loop; the first node of a loop reads a sequence."""
    if node.op == "step":
        return arrays[node.inputs[0]][..., time]
    if node.op == "state":
        zeros = np.full(program.tensors[node.output].shape, program.tensors[node.output].zero_point, object)
        return arrays[node.attributes["next"]] if time else zeros
    if node.op == "collect":
        before = [arrays[node.output]] if time else []
        return np.concatenate([*before, arrays[node.inputs[0]][..., None]], axis=-1)
    return RULES[node.op](program, node, [arrays[name] for name in node.inputs])


def _finish(program: Program, node: Node, value: int) -> int:
    low, high = node.attributes["clip"]
    code = min(max(value + node.attributes["zero_point"], low), high)
    return int(program.constant(node, "table")[code - low]) if "table" in node.constants else code


def _scaled(program: Program, node: Node, acc: int, index: int) -> int:
    multiplier, shift = program.constant(node, "multiplier")[index], program.constant(node, "shift")[index]
    return _finish(program, node, requantize(acc, int(multiplier), int(shift)))


def _empty(program: Program, node: Node) -> np.ndarray:
    return np.empty(program.tensors[node.output].shape, object)


def _places(array: np.ndarray) -> Iterator[tuple[int, ...]]:
    """The places of all elements in row-major order."""
    return product(*map(range, array.shape))


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
    for channel, *place in _places(out):
        first = channel // per_group * depth
        acc = int(program.constant(node, "bias")[channel])
        for tap, pixel in _window(x, node, place, _zero(program, node)):
            acc += sum(weights[(channel, c, *tap)] * pixel[first + c] for c in range(depth))
        out[(channel, *place)] = _scaled(program, node, acc, channel)
    return out


def _linear(program: Program, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    out, weights = _empty(program, node), program.weights(node).astype(object)
    for *row, feature in _places(out):
        acc = int(program.constant(node, "bias")[feature]) + (weights[feature] * inputs[0][tuple(row)]).sum()
        out[(*row, feature)] = _scaled(program, node, acc, feature)
    return out


def _elementwise(program: Program, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    out = _empty(program, node)
    first, second = (np.broadcast_to(x - _zero(program, node, i), out.shape) for i, x in enumerate(inputs))
    multiplier, shift = program.constant(node, "multiplier").astype(object), int(program.constant(node, "shift")[0])
    for place in _places(out):
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
        for place in _places(x):
            part[place] = _scaled(program, node, x[place] - _zero(program, node, index), index)
        parts.append(part)
    return np.concatenate(parts, axis=node.attributes["axis"])


def _max_pool(program: Program, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    out = _empty(program, node)
    for channel, *place in _places(out):
        out[(channel, *place)] = max(pixel[channel] for _, pixel in _window(inputs[0], node, place, 0))
    return out


def _avg_pool(program: Program, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    out, zero = _empty(program, node), _zero(program, node)
    for channel, *place in _places(out):
        acc = sum(pixel[channel] - zero for _, pixel in _window(inputs[0], node, place, zero))
        out[(channel, *place)] = _scaled(program, node, acc, 0)
    return out


def _reshape(program: Program, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    out = _empty(program, node)
    for place, origin in zip(_places(out), _places(inputs[0]), strict=True):
        out[place] = inputs[0][origin]
    return out


def _take(program: Program, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    out, indices = _empty(program, node), node.attributes["indices"]
    for place in _places(out):
        out[place] = inputs[0][tuple(at[i] if at else i for i, at in zip(place, indices, strict=True))]
    return out


def _permute(program: Program, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    out, axes = _empty(program, node), node.attributes["axes"]
    for place in _places(inputs[0]):
        out[tuple(place[axis] for axis in axes)] = inputs[0][place]
    return out


def _resample(program: Program, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    out, zero = _empty(program, node), _zero(program, node)
    for channel, *place in _places(out):
        starts = [first[p] for first, p in zip(node.attributes["starts"], place, strict=True)]
        rows = [rows[p] for rows, p in zip(node.attributes["weights"], place, strict=True)]
        acc = 0
        for taps in product(*(range(len(row)) for row in rows)):
            weight = prod(row[tap] for row, tap in zip(rows, taps, strict=True))
            at = [start + tap for start, tap in zip(starts, taps, strict=True)]
            acc += weight * (inputs[0][(channel, *at)] - zero)
        out[(channel, *place)] = _scaled(program, node, acc, 0)
    return out


def _conv_transpose(program: Program, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    """A tap meets an element of the input only where the stride divides its place; elsewhere it meets zeros."""
    out, x, a, zero = _empty(program, node), inputs[0], node.attributes, _zero(program, node)
    depth, per_group = len(x) // a["groups"], len(out) // a["groups"]
    dilation = a.get("dilation", [1] * len(a["kernel"]))
    weights = program.weights(node).astype(object).reshape(len(out), depth, *a["kernel"])
    for channel, *place in _places(out):
        first = channel // per_group * depth
        acc = int(program.constant(node, "bias")[channel])
        for tap in product(*map(range, a["kernel"])):
            spread = [p + t * d - pads[0] for p, t, d, pads in zip(place, tap, dilation, a["padding"], strict=True)]
            at = [i // step for i, step in zip(spread, a["stride"], strict=True)]
            whole = all(i == n * step for i, n, step in zip(spread, at, a["stride"], strict=True))
            inside = whole and all(0 <= i < size for i, size in zip(at, x.shape[1:], strict=True))
            acc += sum(weights[(channel, c, *tap)] * (x[(first + c, *at)] if inside else zero) for c in range(depth))
        out[(channel, *place)] = _scaled(program, node, acc, channel)
    return out


def _matmul(program: Program, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    out, (left, right), (first, second) = _empty(program, node), inputs, node.attributes["axes"]
    zeros = _zero(program, node, 0), _zero(program, node, 1)
    for head, row, column in _places(out):
        acc = 0
        for k in range(left.shape[first]):
            a = left[(head, row, k) if first == 2 else (head, k, row)]
            b = right[(head, k, column) if second == 1 else (head, column, k)]
            acc += (a - zeros[0]) * (b - zeros[1])
        out[(head, row, column)] = _scaled(program, node, acc, 0)
    return out


def _softmax(program: Program, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    out, x, axis = _empty(program, node), inputs[0], node.attributes["axis"]
    bits = program.tensors[node.output].bits
    exponentials = program.constant(node, "exponentials").tolist()
    lines = product(*(range(1 if i == axis else size) for i, size in enumerate(x.shape)))
    for line in lines:
        places = [(*line[:axis], i, *line[axis + 1 :]) for i in range(x.shape[axis])]
        largest = max(int(x[place]) for place in places)
        each = [exponentials[largest - int(x[place])] for place in places]
        total = sum(each)
        for place, e in zip(places, each, strict=True):
            out[place] = min((2**bits * e + total // 2) // total, 2**bits - 1)
    return out


def _normalize(program: Program, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    out, x, a = _empty(program, node), inputs[0] - _zero(program, node), node.attributes
    measured: dict[tuple[int, ...], list[int]] = {}  # the elements that are measured together

    def together(place: tuple[int, ...]) -> tuple[int, ...]:
        """What the places of such elements have in common: the group, and the axes that are not measured."""
        return (place[0] * a["groups"] // len(x), *(i for axis, i in enumerate(place) if axis not in a["axes"]))

    for place in _places(x):
        measured.setdefault(together(place), []).append(int(x[place]))
    scale = program.tensors[node.inputs[0]].scale
    statistics = {key: _statistics(elements, a, scale) for key, elements in measured.items()}
    for place in _places(out):
        count, total, w = statistics[together(place)]
        acc = over_root(count * int(x[place]) - total, w) + int(program.constant(node, "bias")[place[0]])
        out[place] = _scaled(program, node, acc, place[0])
    return out


def _statistics(elements: list[int], attributes: dict[str, Any], scale: float) -> tuple[int, int, int]:
    """Of R elements: R, their sum (0 where nothing is centred), and R^2 times (variance + eps)."""
    count, total = len(elements), sum(elements) if attributes["centred"] else 0
    eps = floor(min(attributes["eps"] * count * count / (scale * scale) + 0.5, 2.0**60))
    return count, total, max(1, count * sum(e * e for e in elements) - total * total + eps)


def over_root(d: int, w: int) -> int:
    """d / sqrt(w) with 16 bits behind the point. An even shift brings w to 31 or 32 bits before its root is taken."""
    half = (w.bit_length() - 31) // 2
    root = isqrt(w >> 2 * half if half > 0 else w << -2 * half)
    inverse, shift = 2**31 // root, 31 + half - 16
    return (d * inverse + 2**shift // 2) >> shift


def _constant(program: Program, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    return program.constant(node, "codes").astype(object)


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
    "conv_transpose": _conv_transpose,
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
