"""Reads of a part that is there by itself: the last place of what a loop gathers, or one of the inputs of a concat."""

from itertools import accumulate, pairwise

from search.integer.traits import Border, Channels
from spaces.graph.op import Op


def shortened(ops: list[Op]) -> None:
    """Makes each such read a reshape of the part, which costs nothing. The whole may then be read by nobody."""
    by_name = {op.name: op for op in ops}
    for op in ops:
        if op.operator is None or op.operator.channels is not Channels.TAKEN:
            continue
        whole = by_name.get(op.inputs[0])
        part = _part(op, whole) if whole is not None and whole.operator is not None else None
        if part is not None:
            op.kind, op.inputs, op.attributes = "reshape", [part], {"shape": list(op.shape)}


def _part(op: Op, whole: Op) -> str | None:
    *others, last = op.attributes["indices"]
    assert whole.operator is not None
    if whole.operator.loops is Border.GATHER:
        return whole.inputs[0] if not any(others) and list(last) == [whole.shape[-1] - 1] else None
    if whole.operator.channels is not Channels.STACKED or whole.activation[0] != "none" or len(whole.shape) > 1:
        return None
    size = whole.shape[0] // len(whole.inputs)  # of parts that are alike, as states are
    for name, (start, end) in zip(whole.inputs, pairwise(accumulate([0] + [size] * len(whole.inputs))), strict=True):
        if list(last) == list(range(start, end)):
            return name
    return None
