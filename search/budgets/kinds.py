"""Which groups of decisions bear on a network, and which of them are alike in what they cost."""

from collections.abc import Hashable, Sequence
from itertools import accumulate, chain

import numpy as np

from spaces.architecture import Picks
from spaces.decisions.decision import Decision
from spaces.decisions.gates import Gate
from spaces.space import Space

Kind = tuple[Hashable, ...]


class Kinds:
    """Those of a space whose branches are picked.

    Args:
        picks: of the choices of branches. What the other branches hold bears on nothing.
    """

    def __init__(self, space: Space, picks: Picks) -> None:
        self._gates = list(space.gates.values())
        schedule, spec = space.selector.schedule, space.spec
        paths = {name: picks[name][0] for name in schedule.branches}
        self._bears = {name for name in space.choices if name not in paths and schedule.bears(name, paths)}
        starts = accumulate((gate.groups for gate in self._gates), initial=1)  # place 0 is the channel always open
        self._first = {gate.name: first for gate, first in zip(self._gates, starts, strict=False)}
        self._used: set[int] = set()
        self._places: dict[str, list[list[int]]] = {}  # precisions of channels -> the places of each block's channels
        self._precisions: dict[int, list[tuple[str, int]]] = {}  # place -> the precisions of the channels that it gates
        for block in schedule.running(paths):
            places = spec.slots[block.name]
            self._used.update(places)
            bits = spec.weights[block.weights].bits if block.weights else None
            if bits is not None and spec.choices[bits].groups > 1:
                self._places.setdefault(bits, []).append(places)
                for channel, place in enumerate(places):
                    self._precisions.setdefault(place, []).append((bits, channel))
        counts = space.gate_places.counts.numpy()
        self._alike = np.unique(counts, axis=1, return_inverse=True)[1].reshape(-1).tolist()

    def first(self, gate: str) -> int:
        """The place of a gate's first channel in the vector of all gates."""
        return self._first[gate]

    def of(self, decision: Decision, picks: Picks) -> Sequence[Kind | None]:
        """The kind of each group; None where the group does not bear on the network, as that of a closed channel.

        A change of the option from a to b costs exactly the same for all groups of one kind.
        """
        name = decision.name
        if isinstance(decision, Gate):
            places = range(self._first[name], self._first[name] + decision.groups)
            return [self._of_channel(name, place, picks) if place in self._used else None for place in places]
        if name not in self._bears:
            return [None] * decision.groups
        if decision.groups == 1:
            return [(name,)]
        is_open = [True, *chain.from_iterable(map(bool, picks[gate.name]) for gate in self._gates)]
        each = zip(*self._places[name], strict=True)  # of a channel: its place in each block that has these weights
        shown = [tuple(is_open[place] for place in places) for places in each]
        return [(name, *opens) if any(opens) else None for opens in shown]

    def _of_channel(self, gate: str, place: int, picks: Picks) -> Kind:
        bits = tuple(picks[name][channel] for name, channel in self._precisions.get(place, ()))
        return (gate, self._alike[place], *bits)
