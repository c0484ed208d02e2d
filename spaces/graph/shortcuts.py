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
        known = whole is not None and whole.operator is not None and all(name in by_name for name in whole.inputs)
        part = _part(op, whole, [by_name[name].shape[0] for name in whole.inputs]) if whole and known else None
        if part is not None:
            op.kind, op.inputs, op.attributes = "reshape", [part], {"shape": list(op.shape)}


def _part(op: Op, whole: Op, channels: list[int]) -> str | None:
    """The input that is read. Args: channels: of each input of the whole."""
    *others, last = op.attributes["indices"]
    assert whole.operator is not None
    if whole.operator.loops is Border.GATHER:
        return whole.inputs[0] if not any(others) and list(last) == [whole.shape[-1] - 1] else None
    if whole.operator.channels is not Channels.STACKED or whole.activation[0] != "none" or len(whole.shape) > 1:
        return None
    for name, (start, end) in zip(whole.inputs, pairwise(accumulate(channels, initial=0)), strict=True):
        if list(last) == list(range(start, end)):
            return name
    return None
