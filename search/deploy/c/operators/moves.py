"""Operators that copy codes, and perhaps scale them."""

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from math import prod
from operator import mul

import numpy as np

from search.deploy.c.finish import Finish
from search.deploy.c.layout import Stored
from search.deploy.c.loops import nested, sum_of
from search.deploy.c.operation import Call, Operation
from search.deploy.c.source import PLACE, block, number


def concat(operation: Operation) -> Call:
    """The inputs one behind another along an axis, each with a multiplier and a shift of its own."""
    y, axis = operation.output, operation.node.attributes["axis"]
    multipliers, shifts = (operation.constant(role).tolist() for role in ("multiplier", "shift"))
    finish = Finish(operation, operation.constant("shift"), max(x.info.largest_code for x in operation.inputs))
    starts = accumulate((x.shape[axis] for x in operation.inputs), initial=0)
    lines: list[str] = []
    for place, (x, start) in enumerate(zip(operation.inputs, starts, strict=False)):
        offset, zero, multiplier, shift = start * y.strides[axis], x.info.zero_point, multipliers[place], shifts[place]
        lines += nested(
            x.shape,
            [x.strides, y.strides],
            lambda at, place=place, offset=offset, zero=zero, multiplier=multiplier, shift=shift: [  # type: ignore[misc]
                finish.line(
                    f"y[{at[1]} + {number(offset)}]",
                    f"x{place}[{at[0]}] - {number(zero)}",
                    number(multiplier),
                    number(shift),
                )
            ],
        )
    return Call(operation.function(lines, finish.parameters), finish.arguments)


def take(operation: Operation) -> Call:
    """The places of each axis that a list names, in its order."""
    x, y = operation.inputs[0], operation.output
    steps, offset, tables = list(x.strides), 0, dict[int, str]()
    for axis, places in enumerate(operation.node.attributes["indices"]):
        if not places:
            continue
        step = places[1] - places[0] if len(places) > 1 else 0
        if list(places) == [places[0] + step * i for i in range(len(places))]:
            offset, steps[axis] = offset + places[0] * x.strides[axis], step * x.strides[axis]
        else:
            positions = np.array(places) * x.strides[axis]
            kind = np.uint16 if positions.max() < 1 << 16 else np.int32
            tables[axis], steps[axis] = operation.table(f"places{axis}", positions.astype(kind)), 0
    return _copied(operation, y.shape, steps, y.strides, offset, tables)


def step(operation: Operation) -> Call:
    """A place of a sequence, along its last axis."""
    x, y = operation.inputs[0], operation.output
    lines = nested(
        y.factors,
        [x.strides[:-1], y.strides],
        lambda at: [f"y[{at[1]}] = x0[{number(x.strides[-1])} * {PLACE} + {at[0]}];"],
    )
    return Call(operation.function(lines))


def collect(operation: Operation) -> Call:
    """A place of a sequence, along its last axis, is written."""
    x, y = operation.inputs[0], operation.output
    lines = nested(
        x.shape,
        [x.strides, y.strides[:-1]],
        lambda at: [f"y[{number(y.strides[-1])} * {PLACE} + {at[1]}] = x0[{at[0]}];"],
    )
    return Call(operation.function(lines))


def state(operation: Operation) -> Call:
    """What was carried; zero at the first place."""
    x, y = operation.inputs[0], operation.output
    zero = number(y.info.zero_point)
    lines = nested(
        y.shape,
        [x.strides, y.strides],
        lambda at: [f"y[{at[1]}] = ({y.ctype})({PLACE} ? x0[{at[0]}] : {zero});"],
    )
    return Call(operation.function(lines))


def permute(operation: Operation) -> Call:
    x, y = operation.inputs[0], operation.output
    return _copied(operation, y.shape, [x.strides[axis] for axis in operation.node.attributes["axes"]], y.strides)


def reshape(operation: Operation) -> Call:
    """The elements in row-major order under another shape, where they do not lie in that order."""
    x, y = operation.inputs[0], operation.output
    sizes = _factors(x.factors, y.factors)
    if sizes is not None:
        return _copied(operation, sizes, _refined(x, sizes), _refined(y, sizes))
    total = prod(y.shape)
    lines = [f"y[{_place(y)}] = x0[{_place(x)}];"]
    return Call(operation.function(block(f"for (int32_t i = 0; i < {total}; ++i)", lines)))


def _copied(
    operation: Operation,
    sizes: Sequence[int],
    read: Sequence[int],
    written: Sequence[int],
    offset: int = 0,
    tables: Mapping[int, str] | None = None,
) -> Call:
    before = f"{number(offset)} + " if offset else ""
    lines = nested(sizes, [read, written], lambda at: [f"y[{at[1]}] = x0[{before}{at[0]}];"], tables)
    return Call(operation.function(lines))


def _factors(left: Sequence[int], right: Sequence[int]) -> list[int] | None:
    """Sizes of which both shapes are made by joining neighbours; None where there are none."""
    cuts = sorted({*accumulate(reversed(left), mul), *accumulate(reversed(right), mul), 1})
    if any(outer % inner for inner, outer in pairwise(cuts)):
        return None
    return [outer // inner for inner, outer in pairwise(cuts)][::-1]


def _refined(x: Stored, sizes: Sequence[int]) -> list[int]:
    """Steps of a tensor along those sizes."""
    found: list[int] = []
    rest = list(sizes)
    for size, step in zip(reversed(x.factors), reversed(x.strides), strict=True):
        covered = 1
        while covered < size:
            found.append(step * covered)
            covered *= rest.pop()
    return found[::-1]


def _place(x: Stored) -> str:
    """Where the element lies whose row-major number is i."""
    terms, below = [], 1
    for size, step in zip(reversed(x.factors), reversed(x.strides), strict=True):
        if size > 1:
            terms.append((f"(i / {below} % {size})", step))
        below *= size
    return sum_of(terms)
