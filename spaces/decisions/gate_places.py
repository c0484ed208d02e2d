"""Where each tensor's channels stand in the vector of all gates."""

from collections.abc import Collection

import torch
from torch import Tensor, nn

from search.integer.traits import Channels, Work
from spaces.blocks.activations import moves_zero
from spaces.spec import BlockSpec, SpaceSpec


class GatePlaces(nn.Module):
    """Indices into the vector of all gates, whose place 0 is the channel that is always open.

    Attributes:
        counts: (tensors, places), float64, with tensors in the order of the description; on the CPU, as costs are.
        masked: block -> number of its channels, of the blocks that mask their output.
        places: the places of all masked blocks, one block after another.
    """

    places: Tensor

    def __init__(self, spec: SpaceSpec) -> None:
        super().__init__()
        counts = torch.zeros(len(spec.slots), 1 + sum(spec.gates.values()), dtype=torch.float64, device="cpu")
        for row, places in enumerate(spec.slots.values()):
            counts[row].index_add_(0, torch.tensor(places, device="cpu"), counts.new_ones(len(places)))
        self.counts = counts
        gated = [
            block
            for block in spec.blocks
            if any(spec.slots[block.name]) and _shows_gates(block, _is_spread_over(spec, block))
        ]
        self._of = {block.name: torch.tensor(spec.slots[block.name], device="cpu") for block in gated}
        later = _masked_later(spec, self._of)
        self.masked = {name: len(spec.slots[name]) for name in self._of if name not in later}
        places = [place for name in self.masked for place in spec.slots[name]]
        self.register_buffer("places", torch.tensor(places, dtype=torch.long), persistent=False)

    def of(self, block: str) -> Tensor | None:
        """(C,), the places of a block's channels, on the CPU; None where no gate bears on them."""
        return self._of.get(block)

    def split(self, alpha: Tensor) -> dict[str, Tensor]:
        """Masked block -> (C,), its part of the vector of all gates."""
        each = alpha.index_select(0, self.places).split(list(self.masked.values()))
        return dict(zip(self.masked, each, strict=True))


def _shows_gates(block: BlockSpec, spreads: bool) -> bool:
    """Whether a closed channel would come out as something other than zero if it were not masked."""
    makes = block.operator.channels in (Channels.WEIGHTS, Channels.OWN, Channels.REDUCED)
    return makes or spreads or moves_zero(block.activation)


def _masked_later(spec: SpaceSpec, gated: Collection[str]) -> set[str]:
    """Tensors of which every path meets another mask of the same channels, as that of a depthwise convolution.

    Of two masks in a row each would hide the gradient of the other where the gate is closed, and double it where the
    gate is open.
    """
    later: set[str] = set()
    for block in reversed(spec.blocks):
        readers = [reader for reader in spec.blocks if block.name in reader.reads]
        masked = [_keeps_channels(r) and (r.name in gated or r.name in later) for r in readers]
        must = not _keeps_channels(block) and block.weights is None  # it reads its mask itself
        if masked and all(masked) and block.name not in spec.outputs and not must:
            later.add(block.name)
    return later


def _keeps_channels(block: BlockSpec) -> bool:
    """Whether each output channel comes from one input channel alone."""
    if block.operator.channels is Channels.REDUCED:
        return 0 not in block.attributes.get("axes", ())
    return block.weights is None or block.depthwise


def _is_spread_over(spec: SpaceSpec, block: BlockSpec) -> bool:
    """Whether it adds one channel to many, of which some may be closed."""
    sums = block.operator.work is Work.SUM
    return sums and any(len(spec.slots[name]) != len(spec.slots[block.name]) for name in block.inputs)
