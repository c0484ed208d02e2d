"""Masks: constants that are added to what a softmax is taken of, and that hide some of it."""

from collections.abc import Collection, Mapping, Sequence

from search.integer.traits import Channels, Work
from spaces.graph.errors import UnsupportedNetwork
from spaces.graph.op import Op

HIDDEN = 16.0  # exp(-16) is below 2^-23
RAISED = f"what it hides is raised to {HIDDEN:g} below the rest of it, so that codes can tell scores apart"
MOVES = (Channels.RESHAPED, Channels.PERMUTED, Channels.TAKEN)


def bounded(ops: Sequence[Op], outputs: Collection[str]) -> dict[str, str]:
    """Raises what masks hide to a number from which codes can tell the rest, -inf too.

    Args:
        outputs: of the network, which the outside world reads.

    Returns:
        Mask -> what was done to it, in words.

    Raises:
        UnsupportedNetwork: another constant is infinite, or NaN.
    """
    by_name = {op.name: op for op in ops}
    notes: dict[str, str] = {}
    softmaxes = {op.name for op in ops if op.operator is not None and op.operator.exponentiates}
    before = {_behind_moves(by_name[name].inputs[0], by_name) for name in softmaxes}
    sums = {name for name in before if _is_sum(name, by_name) and _only_for(name, softmaxes, ops, outputs)}
    for op in ops:
        if op.values is not None and op.values.max().isfinite() and _only_for(op.name, sums, ops, outputs):
            raised = op.values.clamp_min(op.values.max() - HIDDEN)
            notes |= {} if raised.equal(op.values) else {op.name: RAISED}
            op.values = raised
        if op.values is not None and not op.values.isfinite().all():
            raise UnsupportedNetwork(
                op.where,
                "has a constant that is infinite or NaN, and is no mask before a softmax.",
                "Codes have no such values: take a finite number.",
            )
    return notes


def _behind_moves(name: str, by_name: Mapping[str, Op]) -> str:
    """The tensor of which a tensor is another shape, order or part."""
    while name in by_name and _moves(by_name[name]):
        (name,) = by_name[name].inputs
    return name


def _is_sum(name: str, by_name: Mapping[str, Op]) -> bool:
    operator = by_name[name].operator if name in by_name else None
    return operator is not None and operator.work is Work.SUM


def _only_for(name: str, readers: Collection[str], ops: Sequence[Op], outputs: Collection[str]) -> bool:
    """Whether these operators read a tensor, perhaps in another shape, and nothing else does."""
    found = [op for op in ops if name in op.reads]
    alike = (op.name in readers or (_moves(op) and _only_for(op.name, readers, ops, outputs)) for op in found)
    return bool(found) and name not in outputs and all(alike)


def _moves(op: Op) -> bool:
    return op.operator is not None and op.operator.channels in MOVES
