"""Convolutions with one input channel a group, whose taps meet whole channels of the input at once."""

from math import prod

import numpy as np

from search.deploy.c.finish import Finish
from search.deploy.c.operation import Call, Operation
from search.deploy.c.source import block
from search.deploy.c.taps import Taps, over_places

LARGEST_SHIFT = 62


def depthwise(operation: Operation, spread: bool) -> Call:
    """Working memory: a place of zero points, which taps outside meet, a pointer a tap, and weights of under 8 bits."""
    x, y, node = operation.inputs[0], operation.output, operation.node
    (channels, *_), taps = x.shape, prod(node.attributes["kernel"])
    outputs = y.shape[0]
    finish = Finish(operation, operation.constant("shift"))
    found = Taps(
        operation,
        spread,
        lambda place, count: [f"taps[t++] = x0 + {place};"],
        lambda count: (
            ["taps[t++] = zeros;"]
            if count == 1
            else block(f"for (int32_t i = 0; i < {count}; ++i)", ["taps[t++] = zeros;"])
        ),
    ).lines()
    source = "c" if channels == outputs else f"c / {outputs // channels}"
    sums = [
        "int32_t sum = bias[c];",
        *block(f"for (int32_t i = 0; i < {taps}; ++i)", [f"sum += taps[i][{source}] * weights[{outputs} * i + c];"]),
        finish.line("out[c]", "sum", "multiplier[c]", "shift[c]"),
    ]
    place = ["int32_t t = 0;", *found, *block(f"for (int32_t c = 0; c < {outputs}; ++c)", sums), f"out += {outputs};"]
    filled = operation.source.helper("filled_codes" if x.info.bits <= 8 else "filled_wide")
    lines = [
        f"const {x.ctype} *taps[{taps}];",
        f"{y.ctype} *out = y;",
        f"{filled}(zeros, {x.info.zero_point}, {channels});",
        *over_places(operation, place),
    ]
    return _call(operation, finish, lines, taps)


def _call(operation: Operation, finish: Finish, lines: list[str], taps: int) -> Call:
    x, program, node = operation.inputs[0], operation.program, operation.node
    weights, widths = program.weights(node), program.widths(node)
    outputs, scratch = len(weights), -(-x.bytes // (prod(x.shape[1:]) * 4)) * 4
    arguments = [operation.table(role) for role in ("bias", "multiplier", "shift")]
    parameters = ["const int32_t *bias", "const int16_t *multiplier", "const uint8_t *shift", *finish.parameters]
    if widths.min() == 8:
        codes, more = operation.table("weight", np.ascontiguousarray(weights.T)), ["const int8_t *weights"]
        arguments = [codes, *arguments]
    else:
        unpacked = operation.source.helper("unpacked")
        head = [
            f"int8_t *weights = (int8_t *)zeros + {scratch};",
            f"{unpacked}(packed, widths, weights, {outputs}, {taps});",
        ]
        lines, more = [*head, *lines], ["const uint8_t *packed", "const uint8_t *widths"]
        arguments = [operation.table("weight"), operation.table("widths", widths), *arguments]
        scratch += outputs * taps
    function = operation.function(lines, ", ".join([f"{x.ctype} *zeros", *more, *parameters]), name="depthwise")
    return Call(function, (*arguments, *finish.arguments), scratch, x.ctype)
