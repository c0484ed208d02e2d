"""Pools, and maps that are resized."""

from collections.abc import Sequence
from math import prod

import numpy as np

from search.deploy.c.finish import Finish
from search.deploy.c.loops import sum_of
from search.deploy.c.operation import Call, Operation
from search.deploy.c.source import block, loop, number
from search.integer.bounds import resampled
from search.integer.graph import Array


def maximum(operation: Operation) -> Call:
    """The largest code of a window. What pads it is in no window."""
    lines = ["int32_t largest = 0;"]
    lines += _window(operation, ["if (x0[{place}] > largest)", "    largest = x0[{place}];"])
    lines += [f"y[{_output(operation)}] = ({operation.output.ctype})largest;"]
    return Call(operation.function(_over_outputs(operation, lines), name=_name(operation)))


def average(operation: Operation) -> Call:
    """The sum of a window, whose multiplier contains the division. What pads it is 0."""
    bound = operation.inputs[0].info.largest_code * prod(operation.node.attributes["kernel"])
    finish = Finish(operation, operation.constant("shift"), bound)
    (multiplier,), (shift,) = (operation.constant(role).tolist() for role in ("multiplier", "shift"))
    lines = ["int32_t sum = 0;"]
    lines += _window(operation, [f"sum += x0[{{place}}] - {number(operation.inputs[0].info.zero_point)};"])
    lines += [finish.line(f"y[{_output(operation)}]", "sum", number(multiplier), number(shift))]
    return Call(
        operation.function(_over_outputs(operation, lines), finish.parameters, _name(operation)), finish.arguments
    )


def resample(operation: Operation) -> Call:
    """Weights of each axis times codes: sum = w[0] * w[1] * .. * (x - z)."""
    x, a = operation.inputs[0], operation.node.attributes
    finish = Finish(operation, operation.constant("shift"), resampled(a, [x.info]))
    (multiplier,), (shift,) = (operation.constant(role).tolist() for role in ("multiplier", "shift"))
    lines, weight = ["int32_t sum = 0;"], []
    inner = [f"sum += {{weight}}(x0[{sum_of([('c', x.strides[0]), *_at(operation)])}] - {x.info.zero_point});"]
    for axis, (starts, rows) in enumerate(zip(a["starts"], a["weights"], strict=True)):
        length = max(map(len, rows))
        starts = [min(start, x.shape[1 + axis] - length) for start in starts]
        padded = np.zeros((len(rows), length), np.int64)
        for place, (start, old, row) in enumerate(zip(starts, a["starts"][axis], rows, strict=True)):
            padded[place, old - start : old - start + len(row)] = row
        table = operation.table(f"weights{axis}", _smallest(padded))
        first = operation.table(f"starts{axis}", np.array(starts, np.int32))
        weight.append(f"{table}[o{axis} * {length} + t{axis}]")
        lines.insert(axis, f"const int32_t first{axis} = {first}[o{axis}];")
    inner = [line.format(weight="".join(f"{w} * " for w in weight)) for line in inner]
    for axis in reversed(range(len(weight))):
        length = max(map(len, a["weights"][axis]))
        inner = loop(f"t{axis}", length, inner)
    lines += [*inner, finish.line(f"y[{_output(operation)}]", "sum", number(multiplier), number(shift))]
    return Call(
        operation.function(_over_outputs(operation, lines), finish.parameters, _name(operation)), finish.arguments
    )


def _name(operation: Operation) -> str:
    return f"{operation.node.op}_{len(operation.output.shape) - 1}d"


def _at(operation: Operation) -> list[tuple[str, int]]:
    return [(f"(first{axis} + t{axis})", step) for axis, step in enumerate(operation.inputs[0].strides[1:])]


def _smallest(values: Array) -> Array:
    return values.astype(np.int16) if np.abs(values).max() < 1 << 15 else values.astype(np.int32)


def _window(operation: Operation, lines: Sequence[str]) -> list[str]:
    """Loops over the elements of a window that are in the input; {place} is where one lies."""
    x, a = operation.inputs[0], operation.node.attributes
    kernel = a["kernel"]
    dilation = a.get("dilation", [1] * len(kernel))
    small = operation.small
    terms = [("c", x.strides[0]), *((f"at{axis}", step) for axis, step in enumerate(x.strides[1:]))]
    place = sum_of(terms, general=small)
    found = [line.format(place=place) for line in lines]
    for axis in reversed(range(len(kernel))):
        low, high = a["padding"][axis]
        at = (
            f"const int32_t at{axis} = "
            f"{sum_of([(f'o{axis}', a['stride'][axis]), (f't{axis}', dilation[axis])], -low, small)};"
        )
        if low or high or small:
            found = block(f"if (at{axis} >= 0 && at{axis} < {number(x.shape[1 + axis])})", found)
        found = loop(f"t{axis}", kernel[axis], [at, *found])
    return found


def _output(operation: Operation) -> str:
    y = operation.output
    terms = [("c", y.strides[0]), *((f"o{axis}", step) for axis, step in enumerate(y.strides[1:]))]
    return sum_of(terms, general=operation.small)


def _over_outputs(operation: Operation, lines: Sequence[str]) -> list[str]:
    """Loops over the places o0, o1, .. and the channel c of the output."""
    channels, *spatial = operation.output.shape
    found = loop("c", channels, lines)
    for axis in reversed(range(len(spatial))):
        found = loop(f"o{axis}", spatial[axis], found)
    return found
