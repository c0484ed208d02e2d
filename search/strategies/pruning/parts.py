"""What pruning can take away, as one vector: the channels of gates, or the single weights of layers."""

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from search.strategies.black_box.encoding import importance
from spaces.architecture import Architecture
from spaces.blocks.weights import Weights
from spaces.decisions.gates import Gate
from spaces.patterns import Single
from spaces.space import Space
from spaces.spec import BlockSpec


class Parts(Protocol):
    """The parts of a space that can go.

    Attributes:
        sizes: layer (a gate, or stored weights) -> number of its parts, in the order in which vectors (N,) hold them.
    """

    sizes: dict[str, int]

    def gone(self) -> Tensor:
        """(N,) bool."""

    def remove(self, gone: Tensor) -> None:
        """Makes (N,) bool what is gone."""

    def magnitude(self) -> Tensor:
        """(N,) float64, -inf where a part is gone."""

    def products(self, loss: Tensor) -> Tensor:
        """(N,) float64, |w dL/dw| of the space's last pass, on its device.

        For a channel it is |alpha dL/dalpha| of its gate.
        """

    def layers_of(self, block: BlockSpec) -> set[str]:
        """The layers whose parts are a block's weights, or are what these weights compute."""


def over_layers_means(values: Tensor, sizes: Mapping[str, int]) -> Tensor:
    """Values divided by the mean of what is left in their layer."""
    each = values.split(list(sizes.values()))
    return torch.cat([part / part[part.isfinite()].mean().clamp_min(1e-300) for part in each])


def running(space: Space, architecture: Architecture) -> list[BlockSpec]:
    """The blocks that are left where the architecture picks among branches."""
    picks = architecture.picks
    return [block for block in space.spec.blocks if all(picks[c][0] == option for c, option in block.when)]


class Channels:
    """Channels that gates decide. Layers that are tied share a gate."""

    def __init__(self, space: Space, architecture: Architecture) -> None:
        self.space = space
        first, self._places = 1, {}
        for gate in space.gates.values():
            self._places[gate.name] = range(first, first + gate.groups)
            first += gate.groups
        used = {place for block in running(space, architecture) for place in space.spec.slots[block.name]}
        self.gates: list[Gate] = [g for g in space.gates.values() if used.intersection(self._places[g.name])]
        self.sizes = {gate.name: gate.groups for gate in self.gates}

    def gone(self) -> Tensor:
        return ~torch.cat([gate.is_open() for gate in self.gates]).cpu()

    def remove(self, gone: Tensor) -> None:
        for gate, part in zip(self.gates, gone.split(list(self.sizes.values())), strict=True):
            gate.fix(tuple((~part).int().tolist()))

    def magnitude(self) -> Tensor:
        scores = importance(self.space)
        each = torch.cat([scores[gate.name] for gate in self.gates])
        # Importance adds up over tied layers: without the mean a gate of one layer would close before all others.
        return over_layers_means(each.masked_fill(self.gone(), -torch.inf), self.sizes)

    def products(self, loss: Tensor) -> Tensor:
        alpha = self.space.selection.alpha
        assert alpha is not None  # there are gates
        (slope,) = torch.autograd.grad(loss, alpha)
        each = (slope * alpha.detach()).abs().double()
        places = [self._places[gate.name] for gate in self.gates]
        return torch.cat([each[place.start : place.stop] for place in places])

    def layers_of(self, block: BlockSpec) -> set[str]:
        places = set(self.space.spec.slots[block.name]) if block.weights else set()
        return {gate.name for gate in self.gates if places.intersection(self._places[gate.name])}


class SingleWeights:
    """Weights of layers whose pattern is "weights"."""

    def __init__(self, space: Space, architecture: Architecture) -> None:
        used = {block.weights for block in running(space, architecture)}
        self.layers: dict[str, Weights] = {}
        self._patterns: dict[str, Single] = {}
        for name, weights in space.weights.items():
            if name in used and isinstance(weights.pattern, Single):
                self.layers[name], self._patterns[name] = weights, weights.pattern
        self.sizes = {name: weights.weight.numel() for name, weights in self.layers.items()}

    def gone(self) -> Tensor:
        return ~torch.cat([pattern.kept.flatten() for pattern in self._patterns.values()]).cpu()

    def remove(self, gone: Tensor) -> None:
        for pattern, part in zip(self._patterns.values(), gone.split(list(self.sizes.values())), strict=True):
            pattern.kept.copy_(~part.view(pattern.kept.shape))

    @torch.no_grad()
    def magnitude(self) -> Tensor:
        each = [weights.weight.abs().flatten().double() for weights in self.layers.values()]
        return torch.cat(each).cpu().masked_fill(self.gone(), -torch.inf)

    def products(self, loss: Tensor) -> Tensor:
        each = [weights.weight for weights in self.layers.values()]
        slopes = torch.autograd.grad(loss, each)
        found = [(w * g).detach().abs().flatten().double() for w, g in zip(each, slopes, strict=True)]
        return torch.cat(found)

    def layers_of(self, block: BlockSpec) -> set[str]:
        return {block.weights} if block.weights in self.layers else set()
