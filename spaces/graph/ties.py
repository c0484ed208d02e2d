"""Which channels live and die together: union-find over the channels of all tensors.

A channel here is one entry along dimension 1. Behind a flatten it is a feature, which belongs to its channel. Tied are
the channels that are added or multiplied, those that pass through a depthwise convolution, and those at one position in
each group of a grouped convolution, which must keep groups of equal size. The channels of the inputs and outputs are
fixed, because they belong to the outside world.
"""

from collections.abc import Callable, Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from search.integer.traits import Channels as Where
from spaces.graph.op import Op

Channels = NDArray[np.int64]  # ids of channels

FIXED = 0  # union-find root of all that cannot be pruned


class Ties:
    """The channel ids of every tensor. `find` gives the representative of tied channels."""

    def __init__(self) -> None:
        self.parent = np.zeros(1, dtype=np.int64)
        self.ids: dict[str, Channels] = {}
        self.reasons: dict[int, str] = {}

    def fresh(self, count: int) -> Channels:
        start = len(self.parent)
        self.parent = np.concatenate([self.parent, np.arange(start, start + count)])
        return np.arange(start, start + count)

    def find(self, ids: Channels) -> Channels:
        roots = self.parent[ids]
        while True:
            above = self.parent[roots]
            if (above == roots).all():
                return roots
            roots = above

    def union(self, a: Channels, b: Channels) -> None:
        for x, y in zip(a, b, strict=True):
            x, y = self.find(np.array([x, y]))
            low, high = min(x, y), max(x, y)  # FIXED is the lowest: what is tied to it is fixed
            self.parent[high] = low

    def fix(self, ids: Channels, because: str = "") -> None:
        """Keeps channels, and all that are tied to them. because: why, in words that follow "channels are fixed: "."""
        if because:
            tied = np.isin(self.find(np.arange(len(self.parent))), self.find(ids)[self.find(ids) != FIXED])
            self.reasons |= {int(each): because for each in np.flatnonzero(tied)}
        self.union(ids, np.full(len(ids), FIXED))

    def reason(self, ids: Channels) -> str:
        """Why channels are fixed; "" where they are tied to the network's input or output."""
        return next((self.reasons[int(each)] for each in ids if int(each) in self.reasons), "")


def tie(ops: list[Op], inputs: Mapping[str, int], outputs: Collection[str]) -> tuple[Ties, dict[str, str]]:
    """The ties of all tensors, and the layers whose channels are fixed, with the reason.

    Args:
        inputs: name -> number of channels.
    """
    ties, left_alone = Ties(), {}
    called: dict[str, Channels] = {}
    for name, channels in inputs.items():
        ties.ids[name] = np.zeros(channels, dtype=np.int64)
    for op in ops:
        read = [ties.ids[name] for name in op.inputs]
        ties.ids[op.name] = _rule(op)(ties, op, read)
        for stored in filter(None, (op.weights, op.norm)):  # the same parameters again: the same channels
            if stored == op.weights:
                ties.union(called.setdefault(f"{stored} in", read[0]), read[0])
            ties.union(called.setdefault(stored, ties.ids[op.name]), ties.ids[op.name])
    for op in ops:
        for name in op.reads[len(op.inputs) :]:  # what is carried
            ties.union(ties.ids[op.name], ties.ids[name])
    for name in outputs:
        ties.fix(ties.ids[name])
    for op in ops:
        if op.weighted and (ties.find(ties.ids[op.name]) == FIXED).all():
            tied = ties.reason(ties.ids[op.name]) or "they are the network's input or output, by a tie"
            why = "they are the network's output" if op.name in outputs else tied
            left_alone[op.name] = f"channels are fixed: {why}"
    return ties, left_alone


def _weighted(ties: Ties, op: Op, inputs: list[Channels]) -> Channels:
    assert op.weight is not None  # as of every operator with weights
    outputs, groups = op.weight.shape[0], op.attributes.get("groups", 1)
    source = inputs[0]
    if groups == 1:
        return np.zeros(outputs, dtype=np.int64) if op.fixed else ties.fresh(outputs)
    if groups == len(source):  # each channel perhaps several times
        op.depthwise = True
        return np.repeat(source, outputs // groups)
    first = source[: len(source) // groups]
    for part in np.split(source, groups)[1:]:
        ties.union(first, part)
    return np.tile(ties.fresh(outputs // groups), groups)


def _elementwise(ties: Ties, op: Op, inputs: list[Channels]) -> Channels:
    if len(inputs) == 1:
        return inputs[0]
    a, b = inputs
    if len(a) != len(b):  # one channel spread over many: a map of attention, say
        many, one = (a, b) if len(a) > len(b) else (b, a)
        ties.fix(one, f"'{op.name}' spreads them over the channels of another tensor")
        return many
    ties.union(a, b)
    return a


def _stacked(ties: Ties, op: Op, inputs: list[Channels]) -> Channels:
    return np.concatenate(inputs) if op.attributes["axis"] == 0 else _picked(ties, op, inputs)


def _picked(ties: Ties, op: Op, inputs: list[Channels]) -> Channels:
    for other in inputs[1:]:
        ties.union(inputs[0], other)
    return inputs[0]


def _reshaped(ties: Ties, op: Op, inputs: list[Channels]) -> Channels:
    """Row-major order: a channel becomes several that follow each other, or several that do become one."""
    (source,), before, after = inputs, len(inputs[0]), op.shape[0]
    if after % before == 0:
        return np.repeat(source, after // before)
    if before % after:
        ties.fix(source, f"'{op.name}' joins parts of them")
        return np.zeros(after, dtype=np.int64)
    first, *others = source.reshape(after, -1).T
    for other in others:
        ties.union(first, other)
    return first


def _taken(ties: Ties, op: Op, inputs: list[Channels]) -> Channels:
    places = op.attributes["indices"][0]
    return inputs[0][places] if places else inputs[0]


def _permuted(ties: Ties, op: Op, inputs: list[Channels]) -> Channels:
    if op.attributes["axes"][0] == 0:
        return inputs[0]
    ties.fix(inputs[0], f"'{op.name}' moves them to another axis")
    return np.zeros(op.shape[0], dtype=np.int64)


def _contracted(ties: Ties, op: Op, inputs: list[Channels]) -> Channels:
    ties.union(inputs[0], inputs[1])
    return inputs[0]


def _reduced(ties: Ties, op: Op, inputs: list[Channels]) -> Channels:
    """Where a softmax goes over channels, each of them counts. A norm leaves closed ones out, alike in each group."""
    if op.attributes.get("axis") == 0:
        ties.fix(inputs[0], f"'{op.name}' is taken over all of them")
    groups = op.attributes.get("groups", 1)
    first, *others = inputs[0].reshape(groups, -1)
    for other in others:
        ties.union(first, other)
    return inputs[0]


def _own(ties: Ties, op: Op, inputs: list[Channels]) -> Channels:
    return ties.fresh(op.shape[0])


RULES: dict[Where, Callable[[Ties, Op, list[Channels]], Channels]] = {
    Where.SAME: _elementwise,
    Where.WEIGHTS: _weighted,
    Where.STACKED: _stacked,
    Where.PICKED: _picked,
    Where.RESHAPED: _reshaped,
    Where.TAKEN: _taken,
    Where.PERMUTED: _permuted,
    Where.CONTRACTED: _contracted,
    Where.REDUCED: _reduced,
    Where.OWN: _own,
    Where.CARRIED: _own,
}


def _rule(op: Op) -> Callable[[Ties, Op, list[Channels]], Channels]:
    """The rule of an operator, by what it does to channels."""
    operator = op.operator
    assert operator is not None, op.kind  # fusing has joined all others
    return RULES[operator.channels]
