"""A space as few whole numbers, for searches that know nothing of gradients.

Each decision is one parameter. The parameter of a gate is the number of channels that stay, in eighths of them all. The
scales of their norms, or their weights, say which ones stay. The parameter of a choice is one option for all channels
of the layer. So these searches cannot find layers whose channels differ in precision.
"""

from bisect import bisect_right
from collections.abc import Mapping

import torch
from torch import Tensor

from search.errors import UsageError
from spaces.architecture import Architecture
from spaces.decisions.gates import Gate
from spaces.space import Space

STEPS = 8  # widths of a gate


class Encoding:
    """Parameters of a space and the architectures that they stand for.

    Attributes:
        parameters: decision -> its values on offer, ascending: channels of a gate, options of a choice.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self._order = {name: values.argsort(descending=True).tolist() for name, values in importance(space).items()}
        self.parameters: dict[str, tuple[int, ...]] = {
            name: _widths(decision.groups) if isinstance(decision, Gate) else decision.options
            for name, decision in space.decisions.items()
        }

    def architecture(self, values: Mapping[str, int]) -> Architecture:
        """The architecture of one value for each parameter.

        Raises:
            UsageError: a parameter is missing or unknown, or a value is not on offer.
        """
        if values.keys() != self.parameters.keys():
            differing = sorted(values.keys() ^ self.parameters.keys())
            raise UsageError(f"encoding of space '{self._space.name}': these are missing or unknown: {differing[:5]}.")
        picks = {}
        for name, value in values.items():
            if value not in self.parameters[name]:
                raise UsageError(f"parameter '{name}': {value} is not one of {list(self.parameters[name])}.")
            is_gate = name in self._order
            picks[name] = self.strongest(name, value) if is_gate else (value,) * self._space.decisions[name].groups
        return Architecture(self._space.name, picks, self._space.spec.left_alone)

    def strongest(self, gate: str, count: int) -> tuple[int, ...]:
        """The pick in which a gate's `count` most important groups stay."""
        kept = set(self._order[gate][:count])
        return tuple(int(group in kept) for group in range(len(self._order[gate])))

    def steps(self) -> dict[str, list[int]]:
        """Gate -> for each of its groups the place of the lowest width at which it stays, which is what widths mean."""
        found = {}
        for gate, order in self._order.items():
            ranks = {group: rank for rank, group in enumerate(order)}
            found[gate] = [bisect_right(self.parameters[gate], ranks[group]) for group in range(len(order))]
        return found


def _widths(groups: int) -> tuple[int, ...]:
    return tuple(sorted({-(-groups * step // STEPS) for step in range(1, STEPS + 1)}))


@torch.no_grad()
def importance(space: Space) -> dict[str, Tensor]:
    """Gate -> (groups,), how large the channels are: |scale| of the norm behind them, or the length of their weights.

    The numbers of each layer are divided by their mean, and those of layers that share a gate are added.
    """
    scores = torch.zeros(1 + sum(gate.groups for gate in space.gates.values()), dtype=torch.float64)
    for block in space.blocks:
        if block.norm is not None:
            sizes = block.norm.weight.abs()
        elif block.weights is not None:
            sizes = block.weights.weight.flatten(1).norm(dim=1)
        else:
            continue
        sizes = sizes.double().cpu()
        scores.index_add_(0, torch.tensor(space.spec.slots[block.name]), sizes / sizes.mean().clamp_min(1e-30))
    parts = scores[1:].split([gate.groups for gate in space.gates.values()])
    return {gate.name: part for gate, part in zip(space.gates.values(), parts, strict=True)}
