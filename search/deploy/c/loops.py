"""Loops over the elements of tensors whose axes lie in different orders."""

from collections.abc import Callable, Mapping, Sequence

from search.deploy.c.source import loop, number

Steps = Sequence[int]  # elements from one place of each axis to the next


def nested(
    sizes: Sequence[int],
    operands: Sequence[Steps],
    body: Callable[[Sequence[str]], list[str]],
    tables: Mapping[int, str] | None = None,
) -> list[str]:
    """Loops in the order of the last operand, in as few axes as the operands allow.

    Args:
        sizes: of the axes.
        operands: the steps of each; 0 along an axis that it is broadcast over.
        body: from an expression of the place in each operand to the innermost lines.
        tables: axis -> an array of C from the place along it to that in the first operand, which has no step there.
    """
    tables = tables or {}
    axes = [axis for axis, size in enumerate(sizes) if size > 1 or axis in tables]
    axes.sort(key=lambda axis: -operands[-1][axis])
    merged: list[tuple[int, list[int], str]] = []  # the size, the step of each operand, and a table
    for axis in axes:
        steps, table = [each[axis] for each in operands], tables.get(axis, "")
        if merged and not table and not merged[-1][2] and _follows(merged[-1][1], steps, sizes[axis]):
            merged[-1] = merged[-1][0] * sizes[axis], steps, ""
        else:
            merged.append((sizes[axis], steps, table))
    places = [
        sum_of([(f"i{depth}", steps[operand]) for depth, (_, steps, _) in enumerate(merged)])
        for operand in range(len(operands))
    ]
    looked_up = [f"{table}[i{depth}]" for depth, (_, _, table) in enumerate(merged) if table]
    places[0] = " + ".join([*looked_up, *([places[0]] if places[0] != "0" or not looked_up else [])])
    lines = body(places)
    for depth, (size, _, _) in reversed(list(enumerate(merged))):
        lines = loop(f"i{depth}", size, lines)
    return lines


def _follows(outer: Sequence[int], inner: Sequence[int], size: int) -> bool:
    return all(step == within * size for step, within in zip(outer, inner, strict=True))


def sum_of(terms: Sequence[tuple[str, int]], constant: int = 0, general: bool = False) -> str:
    """An expression of the sum of variables times numbers.

    Args:
        general: whether numbers that change nothing are written too, so that the expression is the same for all.
    """
    if general:
        return " + ".join([*(f"{number(factor)} * {name}" for name, factor in terms), number(constant)])
    parts = [name if factor == 1 else f"{number(factor)} * {name}" for name, factor in terms if factor]
    parts += [number(constant)] if constant else [] if parts else ["0"]
    return " + ".join(parts)
