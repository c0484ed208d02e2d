"""Convolutions with one input channel a group, whose taps meet whole channels of the input at once.

Weights lie in pairs of taps and pairs of channels: of taps 2 i and 2 i + 1, and channels 2 j and 2 j + 1, four bytes
hold both channels of the first tap, then both of the second. So a multiply-add of pairs takes two taps of a channel.
"""

from math import prod

import numpy as np

from search.deploy.c.finish import Finish
from search.deploy.c.operation import Call, Operation
from search.deploy.c.source import block
from search.deploy.c.taps import Taps, over_places
from search.integer.graph import Array

AT_ONCE = 4  # channels


def depthwise(operation: Operation, spread: bool) -> Call:
    """Working memory: a place of zero points, which taps outside meet, and weights of under 8 bits, unpacked."""
    x, program, node = operation.inputs[0], operation.program, operation.node
    channels, outputs = x.shape[0], operation.output.shape[0]
    weights, widths = program.weights(node), program.widths(node)
    taps = prod(node.attributes["kernel"])
    finish = Finish(operation, operation.constant("shift"), program.largest_sum(node))
    filled = "filled_wide" if x.info.bits > 8 else "filled_codes"
    lines = [
        f"const {x.ctype} *taps[{taps + taps % 2}];",
        f"{operation.output.ctype} *out = y;",
        f"{filled}(zeros, {x.info.zero_point}, {channels});",
        *over_places(operation, _place(operation, finish, spread, taps)),
    ]
    scratch = -(-channels * x.info.dtype.itemsize // 4) * 4
    arguments = [operation.table(role) for role in ("bias", "multiplier", "shift")]
    more = ["const int32_t *bias", "const int16_t *multiplier", "const uint8_t *shift", *finish.parameters]
    if widths.min() == 8:
        arguments = [operation.table("weight", _in_pairs(weights)), *arguments]
        more = ["const int8_t *weights", *more]
    else:
        start = f"int8_t *weights = (int8_t *)zeros + {scratch};"
        lines = [start, f"unpacked(packed, widths, weights, {outputs}, {taps});", *lines]
        arguments = [operation.table("weight"), operation.table("widths", widths), *arguments]
        more = ["const uint8_t *packed", "const uint8_t *widths", *more]
        scratch += (outputs + outputs % 2) * (taps + taps % 2)
    function = operation.function(lines, ", ".join([f"{x.ctype} *zeros", *more]), name="depthwise")
    return Call(function, (*arguments, *finish.arguments), scratch, x.ctype)


def _place(operation: Operation, finish: Finish, spread: bool, taps: int) -> list[str]:
    """All channels of a place of the output."""
    found = Taps(
        operation,
        spread,
        lambda place, count: [f"taps[t++] = x0 + {place};"],
        lambda count: block(f"for (int32_t i = 0; i < {count}; ++i)", ["taps[t++] = zeros;"]),
    ).lines()
    names = [parameter.split("*")[-1].split()[-1] for parameter in finish.parameters]
    call = f"{_kernel(operation, finish, taps)}(taps, weights, bias, multiplier, shift, out, {', '.join(names)});"
    last = ["taps[t] = zeros;"] if taps % 2 else []
    return ["int32_t t = 0;", *found, *last, call, f"out += {operation.output.shape[0]};"]


def _kernel(operation: Operation, finish: Finish, taps: int) -> str:
    x, outputs = operation.inputs[0], operation.output.shape[0]
    channels, row = x.shape[0], 2 * (outputs + outputs % 2)
    each = outputs // channels
    place = "c" if each == 1 else f"c / {each}"
    first = f"taps[2 * i][{place}] * weights[{row} * i + 2 * c - (c & 1)]"
    second = f"taps[2 * i + 1][{place}] * weights[{row} * i + 2 * c - (c & 1) + 2]"
    sums = block(f"for (int32_t i = 0; i < {-(-taps // 2)}; ++i)", [f"sum += {first};", f"sum += {second};"])
    finished = finish.line("y[c]", "sum", "multiplier[c]", "shift[c]")
    one = ["int32_t sum = bias[c];", *sums, finished]

    def plain(first: int) -> list[str]:
        return block(f"for (int32_t c = {first}; c < {outputs}; ++c)", one) if first < outputs else []

    lines = plain(0)
    if each == 1 and x.info.bits <= 8 and outputs >= AT_ONCE:
        pairs = [*_by_pairs(finish, taps, outputs, row), *plain(outputs - outputs % AT_ONCE)]
        lines = ["#if NETWORK_DSP", *pairs, "#else", *lines, "#endif"]
    parameters = [
        f"const {x.ctype} *const *taps",
        "const int8_t *weights",
        "const int32_t *bias",
        "const int16_t *multiplier",
        "const uint8_t *shift",
        f"{operation.output.ctype} *restrict y",
        *finish.parameters,
    ]
    return operation.source.function("depthwise_place", ", ".join(parameters), "\n".join(lines), "KERNEL void")


def _by_pairs(finish: Finish, taps: int, outputs: int, row: int) -> list[str]:
    """Four channels and two taps at once."""
    lines = [
        *(f"int32_t s{c} = bias[c + {c}];" for c in range(AT_ONCE)),
        "const int8_t *w = weights + 2 * c;",
    ]
    inner = [
        "const uint32_t a = word(taps[i] + c), b = word(taps[i + 1] + c);",
        "const uint32_t low = lower_halves(a, b), high = upper_halves(a, b);",
        "const uint32_t w01 = word(w), w23 = word(w + 4);",
    ]
    for c, (codes, half, pair) in enumerate(
        (("low", "even", "w01"), ("low", "odd", "w01"), ("high", "even", "w23"), ("high", "odd", "w23"))
    ):
        inner.append(f"s{c} = __smlad((int16x2_t){half}_bytes({codes}), (int16x2_t){half}_codes({pair}), s{c});")
    inner.append(f"w += {row};")
    lines += block(f"for (int32_t i = 0; i < {taps}; i += 2)", inner)
    lines += [finish.line(f"y[c + {c}]", f"s{c}", f"multiplier[c + {c}]", f"shift[c + {c}]") for c in range(AT_ONCE)]
    return block(f"for (int32_t c = 0; c + {AT_ONCE} <= {outputs}; c += {AT_ONCE})", lines)


def _in_pairs(weights: Array) -> Array:
    """(channels, taps) as the kernel reads them, padded with zeros to even numbers."""
    channels, taps = weights.shape
    padded = np.zeros((channels + channels % 2, taps + taps % 2), np.int8)
    padded[:channels, :taps] = weights
    by_pairs = padded.reshape(len(padded) // 2, 2, padded.shape[1] // 2, 2)  # (channels, of a pair, taps, of a pair)
    return np.ascontiguousarray(by_pairs.transpose(2, 0, 3, 1))
