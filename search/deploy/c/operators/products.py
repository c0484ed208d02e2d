"""Products of two tensors."""

from search.deploy.c.finish import Finish
from search.deploy.c.loops import sum_of
from search.deploy.c.operation import Call, Operation
from search.deploy.c.source import loop, number
from search.integer.bounds import product


def matmul(operation: Operation) -> Call:
    """(heads, M, K) times (heads, K, P): the sum over K of (a - z_a) * (b - z_b)."""
    (left, right), y, axes = operation.inputs, operation.output, operation.node.attributes["axes"]
    bound = product(operation.node.attributes, [x.info for x in operation.inputs])
    finish = Finish(operation, operation.constant("shift"), bound)
    (multiplier,), (shift,) = (operation.constant(role).tolist() for role in ("multiplier", "shift"))
    first, second = axes
    a = sum_of([("head", left.strides[0]), ("row", left.strides[3 - first]), ("k", left.strides[first])])
    b = sum_of([("head", right.strides[0]), ("column", right.strides[3 - second]), ("k", right.strides[second])])
    factors = f"(x0[{a}] - {number(left.info.zero_point)}) * (x1[{b}] - {number(right.info.zero_point)})"
    lines = ["int32_t sum = 0;"]
    lines += loop("k", left.shape[first], [f"sum += {factors};"])
    target = f"y[{sum_of([(name, step) for name, step in zip(('head', 'row', 'column'), y.strides, strict=True)])}]"
    lines += [finish.line(target, "sum", number(multiplier), number(shift))]
    for name, size in reversed(list(zip(("head", "row", "column"), y.shape, strict=True))):
        lines = loop(name, size, lines)
    return Call(operation.function(lines, finish.parameters), finish.arguments)
