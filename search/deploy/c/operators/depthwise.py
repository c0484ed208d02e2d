"""Convolutions with one input channel a group, whose taps meet whole channels of the input at once.

Weights lie in pairs of taps and pairs of channels: of taps 2 i and 2 i + 1, and channels 2 j and 2 j + 1, four bytes
hold both channels of the first tap, then both of the second. So a multiply-add of pairs takes two taps of a channel.
"""

from collections.abc import Callable
from math import prod
from typing import NamedTuple

import numpy as np

from search.deploy.c.finish import Finish
from search.deploy.c.interleaved import interleaved_size
from search.deploy.c.operation import Call, Operation
from search.deploy.c.operators.depthwise_lanes import by_bytes, words
from search.deploy.c.source import block, number
from search.deploy.c.taps import Taps, over_places
from search.deploy.c.weights import stored_widths
from search.deploy.c.windows import Slid
from search.integer.graph import Array

AT_ONCE = 4  # channels
BY_VECTORS = 32  # channels at once where the compiler has vectors


def depthwise(operation: Operation, spread: bool) -> Call:
    """Working memory: a place of zero points, which taps outside meet, and weights of under 8 bits, unpacked."""
    x, program, node = operation.inputs[0], operation.program, operation.node
    channels, outputs = x.shape[0], operation.output.shape[0]
    weights, widths = program.weights(node), stored_widths(program, node)
    taps = prod(node.attributes["kernel"])
    extra, shift = 8 - widths, operation.constant("shift") + (8 - widths)
    bias = (operation.constant("bias").astype(np.int64) << extra).astype(np.int32)
    finish = Finish(operation, shift, program.largest_sum(node) << int(extra.max()), raises=True)
    shift = shift + np.uint8(finish.raised)
    filled = "filled_wide" if x.info.bits > 8 else "filled_codes"
    bytewise = not operation.small and x.info.bits <= 8 and outputs == channels
    lines = [
        f"const {x.ctype} *taps[{taps + 1 if operation.small else taps + taps % 2}];",
        f"{operation.output.ctype} *out = y;",
        f"{filled}(zeros, {number(x.info.zero_point)}, {number(channels)});",
        *over_places(operation, _place(operation, finish, spread, taps)),
    ]
    scratch = -(-channels * x.info.dtype.itemsize // 4) * 4
    arguments = [operation.table("bias", bias), operation.table("multiplier"), operation.table("shift", shift)]
    more = ["const int32_t *bias", "const int16_t *multiplier", "const uint8_t *shift", *finish.parameters]
    name, start = f"depthwise_{len(node.attributes['kernel'])}d", list[str]()
    if widths.min() == 8:
        arguments = [operation.table("weight", _in_pairs(weights)), *arguments]
        more = ["const int8_t *weights", *more]
    else:
        start = [
            f"uint8_t *bytes = (uint8_t *)zeros + {number(scratch)};",
            "const int8_t *weights = (const int8_t *)bytes;",
            f"unpacked(packed, widths, bytes, {number(outputs)}, {number(-(-taps // 2))});",
        ]
        arguments = [operation.table("weight", _packed(weights, widths)), operation.table("widths", widths), *arguments]
        more = ["const uint8_t *packed", "const uint8_t *widths", *more]
        scratch += (outputs + outputs % 2) * (taps + taps % 2)
        name += "_packed"
    arguments += finish.arguments
    lines = [*start, *lines]
    if bytewise:
        slid = Slid.of(operation, spread)
        memory = operation.source.interleaved(node.name, interleaved_size(outputs, words(slid)))
        arguments[-1] += f" IF_BYTES(, {memory})"
        more[-1] += " IF_BYTES(, int32_t *interleaved)"
        lines = ["#if NETWORK_BYTES", *by_bytes(slid, finish, start), "#else", *lines, "#endif"]
    function = operation.function(lines, [f"{x.ctype} *zeros", *more], name)
    return Call(function, tuple(arguments), scratch, x.ctype)


def _place(operation: Operation, finish: Finish, spread: bool, taps: int) -> list[str]:
    """All channels of a place of the output."""
    found = Taps(
        operation,
        spread,
        lambda place, count: [f"taps[t++] = x0 + {place};"],
        lambda count: block(f"for (int32_t i = 0; i < {number(count)}; ++i)", ["taps[t++] = zeros;"]),
    ).lines()
    names = [parameter.split("*")[-1].split()[-1] for parameter in finish.parameters]
    outputs, pairs = number(operation.output.shape[0]), number(-(-taps // 2))
    given = [
        "taps",
        "weights",
        "bias",
        "multiplier",
        "shift",
        "out",
        *names,
        *([outputs, pairs] if operation.small else []),
    ]
    call = f"{_kernel(operation, finish, taps)}({', '.join(given)});"
    last = ["taps[t] = zeros;"] if taps % 2 or operation.small else []
    return ["int32_t t = 0;", *found, *last, call, f"out += {outputs};"]


def _kernel(operation: Operation, finish: Finish, taps: int) -> str:
    x, outputs = operation.inputs[0], operation.output.shape[0]
    each = outputs // x.shape[0]
    numbers = _Numbers("outputs", "pairs") if operation.small else _Numbers(str(outputs), str(-(-taps // 2)))
    place, row = "c" if each == 1 else f"c / {each}", f"2 * ({numbers.outputs} + ({numbers.outputs} & 1))"
    weight = f"weights[{row} * i + 2 * c - (c & 1)"
    products = [f"sum += taps[2 * i][{place}] * {weight}];", f"sum += taps[2 * i + 1][{place}] * {weight} + 2];"]
    sums = block(f"for (int32_t i = 0; i < {numbers.pairs}; ++i)", products)
    one = ["int32_t sum = bias[c];", *sums, finish.line("y[c]", "sum", "multiplier[c]", "shift[c]")]

    def plain(first: str) -> list[str]:
        return block(f"for (int32_t c = {first}; c < {numbers.outputs}; ++c)", one)

    lines = plain("0")
    if each == 1 and x.info.bits <= 8 and (operation.small or outputs >= AT_ONCE):
        rest = plain(f"{numbers.outputs} / {AT_ONCE} * {AT_ONCE}") if operation.small or outputs % AT_ONCE else []
        pairs = [*_by_pairs(finish, numbers, row, operation.small), *rest]
        vectors = [] if operation.small or outputs < BY_VECTORS else _by_vectors(finish, outputs, -(-taps // 2), plain)
        vectors = ["#elif NETWORK_VECTORS", *vectors] if vectors else []
        lines = ["#if NETWORK_DSP", *pairs, *vectors, "#else", *lines, "#endif"]
    parameters = [
        f"const {x.ctype} *const *taps",
        "const int8_t *weights",
        "const int32_t *bias",
        "const int16_t *multiplier",
        "const uint8_t *shift",
        f"{operation.output.ctype} *restrict y",
        *finish.parameters,
        *(["const int32_t outputs", "const int32_t pairs"] if operation.small else []),
    ]
    name = "depthwise_place" if each == 1 and x.info.bits <= 8 else "depthwise_place_plain"
    only = "!NETWORK_BYTES" if each == 1 and x.info.bits <= 8 and not operation.small else ""
    return operation.source.function(name, ", ".join(parameters), "\n".join(lines), "KERNEL void", only)


class _Numbers(NamedTuple):
    """How many channels there are, and pairs of taps: as literals, or names of parameters."""

    outputs: str
    pairs: str


def _by_pairs(finish: Finish, numbers: _Numbers, row: str, small: bool) -> list[str]:
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
    lines += block(f"for (int32_t i = 0; i < 2 * {numbers.pairs}; i += 2)", inner)
    ended = [finish.line(f"y[c + {c}]", f"s{c}", f"multiplier[c + {c}]", f"shift[c + {c}]") for c in range(AT_ONCE)]
    if small:
        each = [f"shift[c + {c}]" for c in range(AT_ONCE)]
        plain = ["const int32_t zero = end->zero, raised = end->raised;"] + [
            finish.plain(f"y[c + {c}]", f"s{c}", f"multiplier[c + {c}]", one, f"rounding(zero, {one}, 16)")
            for c, one in enumerate(each)
        ]
        condition = " && ".join(finish.is_plain(one) for one in each)
        lines += [*block(f"if ({condition})", plain), *block("else", ended)]
    else:
        lines += ended
    return block(f"for (int32_t c = 0; c + {AT_ONCE} <= {numbers.outputs}; c += {AT_ONCE})", lines)


def _by_vectors(finish: Finish, outputs: int, pairs: int, rest: Callable[[str], list[str]]) -> list[str]:
    """Many channels at once, in loops of which each takes vectors: weights of two taps, their products, and codes.

    Args:
        rest: the lines for the channels from a number on.
    """
    row, whole = 2 * (outputs + outputs % 2), outputs // BY_VECTORS * BY_VECTORS
    apart = ["memcpy(first + 2 * j, w + 4 * j, 2);", "memcpy(second + 2 * j, w + 4 * j + 2, 2);"]
    taps = [
        f"const int8_t *w = weights + {row} * i + 2 * c;",
        "const uint8_t *a = taps[2 * i] + c, *b = taps[2 * i + 1] + c;",
        f"int8_t first[{BY_VECTORS}], second[{BY_VECTORS}];",
        *block(f"for (int32_t j = 0; j < {BY_VECTORS // 2}; ++j)", apart),
        *block(f"for (int32_t j = 0; j < {BY_VECTORS}; ++j)", ["sums[j] += a[j] * first[j] + b[j] * second[j];"]),
    ]
    ended = finish.line("y[c + j]", "sums[j]", "multiplier[c + j]", "shift[c + j]")
    lines = [
        f"int32_t sums[{BY_VECTORS}];",
        *block(f"for (int32_t j = 0; j < {BY_VECTORS}; ++j)", ["sums[j] = bias[c + j];"]),
        *block(f"for (int32_t i = 0; i < {pairs}; ++i)", taps),
        *block(f"for (int32_t j = 0; j < {BY_VECTORS}; ++j)", [ended]),
    ]
    head = f"for (int32_t c = 0; c < {whole}; c += {BY_VECTORS})"
    return [*block(head, lines), *(rest(str(whole)) if whole < outputs else [])]


def _packed(weights: Array, widths: Array) -> Array:
    """(bytes,), codes of an even number of taps a channel, each of its width, from the lowest bits of a byte on."""
    rows = []
    for row, width in zip(np.pad(weights, ((0, 0), (0, weights.shape[1] % 2))), widths.tolist(), strict=True):
        bits = (row.view(np.uint8)[:, None] >> np.arange(width, dtype=np.uint8)) & 1
        rows.append(np.packbits(bits, bitorder="little"))
    return np.concatenate(rows)


def _in_pairs(weights: Array) -> Array:
    """(channels, taps) as the kernel reads them, padded with zeros to even numbers."""
    channels, taps = weights.shape
    padded = np.zeros((channels + channels % 2, taps + taps % 2), np.int8)
    padded[:channels, :taps] = weights
    by_pairs = padded.reshape(len(padded) // 2, 2, padded.shape[1] // 2, 2)  # (channels, of a pair, taps, of a pair)
    return np.ascontiguousarray(by_pairs.transpose(2, 0, 3, 1))
