"""Operators that measure what is around an element: softmax, and norms."""

from collections.abc import Sequence
from math import prod

from search.deploy.c.finish import Finish
from search.deploy.c.loops import sum_of
from search.deploy.c.operation import Call, Operation
from search.deploy.c.source import block
from search.integer.bounds import FRACTION_BITS, integer_eps

ROOT_BITS = 31


def softmax(operation: Operation) -> Call:
    """code = min((2^bits e + S / 2) / S, 2^bits - 1), with e = exponentials[largest code - code], S their sum."""
    x, y, axis = operation.inputs[0], operation.output, operation.node.attributes["axis"]
    size, bits = x.shape[axis], y.info.bits
    outer = [place for place in range(len(x.shape)) if place != axis]
    read, write = (sum_of([(f"i{place}", t.strides[place]) for place in outer]) for t in (x, y))
    step, stride = x.strides[axis], y.strides[axis]
    wide = size * (1 << 16) + (1 << (bits + 16)) >= 1 << 32
    kind = "uint64_t" if wide else "uint32_t"
    over = f"for (int32_t i = 0; i < {size}; ++i)"
    lines = [
        f"const {x.ctype} *line = x0 + {read};",
        f"{y.ctype} *out = y + {write};",
        "int32_t largest = 0;",
        *block(over, [f"if (line[{step} * i] > largest)", f"    largest = line[{step} * i];"]),
        f"{kind} sum = 0;",
        *block(over, [f"sum += exponentials[largest - line[{step} * i]];"]),
        *block(
            over,
            [
                f"const {kind} share = ((({kind})exponentials[largest - line[{step} * i]] << {bits}) + sum / 2) / sum;",
                f"out[{stride} * i] = ({y.ctype})(share > {(1 << bits) - 1} ? {(1 << bits) - 1} : share);",
            ],
        ),
    ]
    for place in reversed(outer):
        lines = _loop(f"i{place}", x.shape[place], lines)
    return Call(operation.function(lines, ["const uint16_t *exponentials"]), (operation.table("exponentials"),))


def normalize(operation: Operation) -> Call:
    """d / sqrt(W) with 16 bits behind the point, d = R (x - z) - sum, W = R sum of squares - sum^2 + R^2 eps / s^2."""
    x, y, a = operation.inputs[0], operation.output, operation.node.attributes
    finish = Finish(operation, operation.constant("shift"))
    channels, groups = x.shape[0], a["groups"]
    together = 0 in a["axes"]  # channels are measured together, those of a group
    sizes = (groups, channels // groups, *x.shape[1:]) if together else (channels, 1, *x.shape[1:])
    inner = [1, *(1 + axis for axis in a["axes"] if axis)]
    outer = [axis for axis in range(len(sizes)) if axis not in inner]
    count = prod(sizes[axis] for axis in inner)
    eps = integer_eps(a["eps"], count, x.info.scale)
    read, write = (sum_of(_terms(t.strides, sizes[1])) for t in (x, y))
    channel = sum_of([("i0", sizes[1]), ("i1", 1)])
    value = [f"const int32_t value = x0[{read}] - {x.info.zero_point};"]
    measure = [*value, *(["sum += value;"] if a["centred"] else []), "squares += (int64_t)value * value;"]
    lines = ["int64_t sum = 0, squares = 0;", *_loops(inner, sizes, measure)]
    lines += [
        f"const int64_t w = {count} * squares - sum * sum + INT64_C({eps});",
        "int32_t half;",
        "const int64_t inverse = inverse_root(w < 1 ? 1 : (uint64_t)w, &half);",
        f"const int32_t shift = {ROOT_BITS - FRACTION_BITS} + half;",
    ]
    finished = [
        *value,
        f"const int64_t normal = ({count} * (int64_t)value - sum) * inverse;",
        "const int32_t total = (int32_t)((normal + ((INT64_C(1) << shift) >> 1)) >> shift) + bias[" + channel + "];",
        finish.line(f"y[{write}]", "total", f"multiplier[{channel}]", f"shifts[{channel}]"),
    ]
    lines = _loops(outer, sizes, [*lines, *_loops(inner, sizes, finished)])
    more = ["const int32_t *bias", "const int16_t *multiplier", "const uint8_t *shifts", *finish.parameters]
    arguments = [operation.table(role) for role in ("bias", "multiplier", "shift")]
    return Call(operation.function(lines, more), (*arguments, *finish.arguments))


def _terms(strides: Sequence[int], group: int) -> list[tuple[str, int]]:
    """Of axes (group, channel of the group, *the others)."""
    rest = [(f"i{axis}", step) for axis, step in enumerate(strides[1:], 2)]
    return [("i0", group * strides[0]), ("i1", strides[0]), *rest]


def _loops(axes: Sequence[int], sizes: Sequence[int], lines: Sequence[str]) -> list[str]:
    found = list(lines)
    for axis in reversed(axes):
        found = _loop(f"i{axis}", sizes[axis], found)
    return found


def _loop(name: str, size: int, lines: Sequence[str]) -> list[str]:
    return block(f"for (int32_t {name} = 0; {name} < {size}; ++{name})", lines)
