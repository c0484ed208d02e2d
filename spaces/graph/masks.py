"""Masks: constants that are added to what a softmax is taken of, and that hide some of it."""

from collections.abc import Sequence

from search.integer.traits import Channels, Work
from spaces.graph.errors import UnsupportedNetwork
from spaces.graph.op import Op

HIDDEN = 16.0  # so far below the rest of a mask a share is below 2^-23, which no share of 8 bits sees


def bounded(ops: Sequence[Op]) -> None:
    """Raises what hides to a number from which codes can tell the rest, -inf too.

    Raises:
        UnsupportedNetwork: another constant is infinite, or NaN.
    """
    by_name = {op.name: op for op in ops}
    for op in ops:
        if op.operator is not None and op.operator.exponentiates:
            before = _behind_moves(op.inputs[0], by_name)
            if before is not None and before.operator is not None and before.operator.work is Work.SUM:
                for name in before.inputs:
                    mask = _behind_moves(name, by_name)
                    if mask is not None and mask.values is not None and mask.values.max().isfinite():
                        mask.values = mask.values.clamp_min(mask.values.max() - HIDDEN)
    for op in ops:
        if op.values is not None and not op.values.isfinite().all():
            raise UnsupportedNetwork(
                op.where,
                "has a constant that is infinite or NaN, and is no mask before a softmax.",
                "Codes have no such values: take a finite number.",
            )


def _behind_moves(name: str, by_name: dict[str, Op]) -> Op | None:
    """What computes a tensor that is perhaps reshaped, transposed or spread."""
    op = by_name.get(name)
    while op is not None and op.operator is not None and op.operator.channels in MOVES:
        op = by_name.get(op.inputs[0])
    return op


MOVES = (Channels.RESHAPED, Channels.PERMUTED, Channels.TAKEN)
