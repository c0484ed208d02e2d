"""Operators of which an element depends on the elements at its place alone."""

from search.deploy.c.finish import Finish
from search.deploy.c.layout import Stored
from search.deploy.c.loops import nested
from search.deploy.c.operation import Call, Operation


def add(operation: Operation) -> Call:
    """(x0 - z0) * m0 + (x1 - z1) * m1, each with a multiplier of its own, and one shift."""
    finish = Finish(operation, operation.constant("shift"), wide=True)
    each = [
        f"(int64_t)(({x}[{{}}] - {zero}) * INT32_C({multiplier}))"
        for x, zero, multiplier in zip(
            ("x0", "x1"), _zero_points(operation), operation.constant("multiplier").tolist(), strict=True
        )
    ]
    return _looped(operation, finish, " + ".join(each))


def mul(operation: Operation) -> Call:
    """(x0 - z0) * (x1 - z1) * m."""
    finish = Finish(operation, operation.constant("shift"), wide=True)
    first, second = _zero_points(operation)
    (multiplier,) = operation.constant("multiplier").tolist()
    return _looped(operation, finish, f"(int64_t)(x0[{{}}] - {first}) * (x1[{{}}] - {second}) * {multiplier}")


def table(operation: Operation) -> Call:
    """An entry for each code."""
    x, y = operation.inputs[0], operation.output
    lines = nested(y.shape, [x.strides, y.strides], lambda at: [f"y[{at[1]}] = table[x0[{at[0]}]];"])
    function = operation.function(lines, f"const {y.ctype} *table")
    return Call(function, (operation.table("table"),))


def _looped(operation: Operation, finish: Finish, total: str) -> Call:
    y, (shift,) = operation.output, operation.constant("shift").tolist()
    steps = [_spread(x, y.shape) for x in operation.inputs]
    lines = nested(
        y.shape,
        [*steps, y.strides],
        lambda at: [finish.of_product(f"y[{at[2]}]", total.format(at[0], at[1]), str(shift))],
    )
    return Call(operation.function(lines, ", ".join(finish.parameters)), finish.arguments)


def _zero_points(operation: Operation) -> list[int]:
    return [x.info.zero_point for x in operation.inputs]


def _spread(x: Stored, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Steps of a tensor that is broadcast along axes in which it has one element."""
    return tuple(step if size == n else 0 for step, size, n in zip(x.strides, x.shape, shape, strict=True))
