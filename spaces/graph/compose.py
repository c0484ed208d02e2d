"""Arithmetic of two tensors that are both functions of one: x * sigmoid(x), x / (1 + |x|). It is one activation."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from spaces.blocks.activations import COMPOSED, Activation
from spaces.graph.op import ACTIVATION, Op

PAIRS = ("add", "sub", "mul", "div")  # element by element, of two tensors
# What is an operator of its own with a function of its second input.
REWRITTEN: dict[str, tuple[str, Activation]] = {
    "sub": ("add", ("scale", {"factor": -1.0, "offset": 0.0})),
    "div": ("mul", ("reciprocal", {})),
}


def composed(ops: list[Op], outputs: Sequence[str]) -> list[Op]:
    """The operators, with each such piece of arithmetic as an activation. What nothing reads any more is still there.

    Differences that are left become sums, and quotients products.
    """
    readers = Counter(name for op in ops for name in op.reads) + Counter(outputs)
    by_name = {op.name: op for op in ops}
    places = {op.name: place for place, op in enumerate(ops)}
    made: list[Op] = []
    for op in ops:
        if op.kind in PAIRS and len(op.inputs) == 2:
            region = _region(op, by_name, places, readers)
            if region is None and op.kind == "div":  # at the price of computing some of it twice
                region = _region(op, by_name, places, None)
            if region is not None:
                _make_activation(op, region)
            elif op.kind in REWRITTEN:
                op.kind, second = REWRITTEN[op.kind]
                shape = by_name[op.inputs[1]].shape if op.inputs[1] in by_name else op.shape
                made.append(Op(ACTIVATION, f"{op.name}.second", op.where, op.inputs[1:], shape, activation=second))
                op.inputs = [op.inputs[0], made[-1].name]
        made.append(op)
    return made


def _region(
    last: Op, by_name: Mapping[str, Op], places: Mapping[str, int], readers: Mapping[str, int] | None
) -> list[Op] | None:
    """The operators behind the one tensor of which the last is a function, in order; None where it has no such tensor.

    Args:
        readers: tensor -> how often it is read: nothing else may read what is computed on the way. None: it may.
    """
    region, frontier = [last], set(last.inputs)
    while len(frontier) > 1:
        name = max(frontier, key=lambda each: places.get(each, -1))
        op = by_name.get(name)
        inside = sum(each.inputs.count(name) for each in region)
        private = readers is None or readers[name] == inside
        if op is None or not private or not _is_pointwise(op) or op.shape != last.shape:
            return None
        region.append(op)
        frontier = frontier - {name} | set(op.inputs)
    (base,) = frontier
    shape = by_name[base].shape if base in by_name else last.shape
    return region[::-1] if shape == last.shape else None


def _is_pointwise(op: Op) -> bool:
    return op.kind == ACTIVATION or op.kind in PAIRS


def _make_activation(op: Op, region: Sequence[Op]) -> None:
    """Turns the last operator of a region into the function that all of them are."""
    inside = {each.name: place for place, each in enumerate(region, 1)}  # place 0 is the one tensor
    (base,) = {name for each in region for name in each.inputs if name not in inside}
    steps: list[dict[str, Any]] = []
    for each in region:
        name, arguments = each.activation if each.kind == ACTIVATION else (each.kind, {})
        steps.append({"name": name, "of": [inside.get(n, 0) for n in each.inputs], "arguments": arguments})
    op.kind, op.inputs, op.activation = ACTIVATION, [base], (COMPOSED, {"steps": steps})
    op.note = next((each.note for each in region if each.note), "")


def in_turn(first: Activation, second: Activation) -> Activation:
    """One activation and then another."""
    steps = [
        {"name": name, "of": [place], "arguments": arguments} for place, (name, arguments) in enumerate((first, second))
    ]
    return COMPOSED, {"steps": steps}
