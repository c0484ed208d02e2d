"""Operators of which an element depends on the elements at its place alone."""

from collections.abc import Callable
from math import prod

from search.deploy.c.finish import LARGEST, Finish
from search.deploy.c.layout import Stored
from search.deploy.c.loops import nested
from search.deploy.c.operation import Call, Operation
from search.deploy.c.source import number


def add(operation: Operation) -> Call:
    """(x0 - z0) * m0 + (x1 - z1) * m1, each with a multiplier of its own, and one shift."""
    multipliers = operation.constant("multiplier").tolist()
    parts = [
        f"{{wide}}(x{place}[{{at{place}}}] - {number(x.info.zero_point)}) * {number(multiplier)}"
        for place, (x, multiplier) in enumerate(zip(operation.inputs, multipliers, strict=True))
    ]
    bound = sum(x.info.largest_code * abs(m) for x, m in zip(operation.inputs, multipliers, strict=True))
    return _looped(operation, " + ".join(parts), bound)


def mul(operation: Operation) -> Call:
    """(x0 - z0) * (x1 - z1) * m. Where 32 bits hold a product of codes, it ends as any sum does."""
    (multiplier,), (shift,) = (operation.constant(role).tolist() for role in ("multiplier", "shift"))
    first, second = (
        f"(x{place}[{{at{place}}}] - {number(x.info.zero_point)})" for place, x in enumerate(operation.inputs)
    )
    bound = prod(x.info.largest_code for x in operation.inputs)
    if bound > LARGEST:
        return _looped(operation, f"{{wide}}{first} * {second} * {number(multiplier)}", bound * abs(multiplier))
    finish = Finish(operation, operation.constant("shift"), bound)

    def line(y: str, x0: str, x1: str) -> str:
        product = f"{first} * {second}".format(at0=x0, at1=x1)
        return finish.line(y, product, number(multiplier), number(shift))

    return _loops(operation, finish, line)


def table(operation: Operation) -> Call:
    """An entry for each code."""
    x, y = operation.inputs[0], operation.output
    lines = nested(y.shape, [x.strides, y.strides], lambda at: [f"y[{at[1]}] = table[x0[{at[0]}]];"])
    function = operation.function(lines, [f"const {y.ctype} *table"])
    return Call(function, (operation.table("table"),))


def _looped(operation: Operation, product: str, bound: int) -> Call:
    (shift,), finish = operation.constant("shift").tolist(), Finish(operation, operation.constant("shift"))

    def line(y: str, x0: str, x1: str) -> str:
        return finish.of_product(y, product.format(at0=x0, at1=x1, wide="{wide}"), shift, bound)

    return _loops(operation, finish, line)


def _loops(operation: Operation, finish: Finish, line: Callable[[str, str, str], str]) -> Call:
    """Args: line: from the output's element, and the places of the inputs', to what is done there."""
    y = operation.output
    steps = [_spread(x, y.shape) for x in operation.inputs]
    lines = nested(y.shape, [*steps, y.strides], lambda at: [line(f"y[{at[2]}]", at[0], at[1])])
    return Call(operation.function(lines, finish.parameters), finish.arguments)


def _spread(x: Stored, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Steps of a tensor that is broadcast along axes in which it has one element."""
    return tuple(step if size == n else 0 for step, size, n in zip(x.strides, x.shape, shape, strict=True))
