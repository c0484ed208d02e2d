"""A Space as the cost models see it."""

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from cost_models.layer import LayerUse, Network, TensorUse
from search.integer.traits import Border
from spaces.blocks.block import TABLE_BITS, Block
from spaces.decisions.gate_places import GatePlaces
from spaces.decisions.selection import GATES, Selection
from spaces.decisions.selector import Selector
from spaces.host_copy import on_host
from spaces.quantizers import ActivationChoice
from spaces.quantizers.activation import Quantizer
from spaces.spec import BlockSpec, SpaceSpec

FLOAT_BITS = 32


class Described(Protocol):
    """What a description needs of a Space."""

    spec: SpaceSpec
    blocks: Sequence[Block]
    gate_places: GatePlaces
    selector: Selector

    def quantizer(self, tensor: str) -> Quantizer | None:
        """The quantizer of a tensor, or its choice of some."""


class Precision(NamedTuple):
    """Widths on offer for a tensor, and the share of each: (n_widths,), sums to 1."""

    widths: tuple[int, ...]
    share: Tensor


class ChannelWidths(NamedTuple):
    """Widths on offer for weights, and how many output channels have each: (n_widths,)."""

    widths: tuple[int, ...]
    channels: Tensor


def describe(space: Described, selection: Selection) -> Network:
    """The network with the channels, and the channels of each width, that the decisions say, in float64.

    Its numbers are on the CPU, whatever device the space is on: they are few, and a cost takes hundreds of operators.
    """
    leaves = ({} if selection.alpha is None else {GATES: selection.alpha}) | selection.share
    near = dict(zip(leaves, on_host(list(leaves.values())), strict=True))
    return _NetworkDescription(space, Selection.of(selection.mode, near)).network()


class _NetworkDescription:
    """A space as its decisions say.

    Attributes:
        alpha: (places,), how often each place of the vector of gates stands in the network.
        channels: tensor -> (), how many channels it has.
        precisions: tensor -> its precision.
    """

    def __init__(self, space: Described, selection: Selection) -> None:
        self.space, self.selection, self.spec = space, selection, space.spec
        counts, gates = space.gate_places.counts, selection.alpha
        self.alpha = counts.new_ones(1) if gates is None else gates * space.selector.copies().double()
        self.shapes, channels = self.spec.shapes, counts @ self.alpha
        sizes = channels * channels.new_tensor([prod(self.shapes[name][1:]) for name in self.spec.slots])
        self.channels = dict(zip(self.spec.slots, channels.unbind(), strict=True))
        self._elements = dict(zip(self.spec.slots, sizes.unbind(), strict=True))
        self._widths = self._channels_of_each_width()
        self._steps = {loop: self.spec.steps(loop) for loop in {block.loop for block in self.spec.blocks if block.loop}}
        self.in_flash = {block.name for block in self.spec.blocks if block.operator.stored}
        self.precisions = self._precisions(counts.new_ones(1))

    def network(self) -> Network:
        layers = tuple(self._layer(block) for block in self.space.blocks)
        tensors = {name: self._tensor(name) for name in self.shapes}
        share = self.selection.share
        branches = {name: share[name][0].double() for name, choice in self.spec.choices.items() if choice.branches}
        return Network(layers, tensors, self.spec.inputs, self.spec.outputs, branches)

    def _precisions(self, one: Tensor) -> dict[str, Precision]:
        """The precision of every tensor. Behind a select it is a mixture of those of the inputs, by their shares."""
        found = {name: self._precision(name, one) for name in self.spec.inputs}
        for block in self.spec.blocks:
            scale = self.spec.scale_of[block.name]
            if block.operator.picks:
                share = self.selection.share[block.attributes["choice"]][0].double()
                found[block.name] = _mixture([found[name] for name in block.inputs], share)
            else:
                found[block.name] = found[scale] if scale in found else self._precision(block.name, one)
        return found

    def _precision(self, tensor: str, one: Tensor) -> Precision:
        quantizer = self.space.quantizer(tensor)
        if isinstance(quantizer, ActivationChoice):
            return Precision(quantizer.widths, self.selection.share[quantizer.choice][0].double())
        return Precision((quantizer.bits if quantizer is not None else FLOAT_BITS,), one)

    def _tensor(self, name: str) -> TensorUse:
        precision = self.precisions[name]
        return TensorUse(name, self._elements[name], precision.widths, precision.share, name in self.in_flash)

    def _layer(self, block: Block) -> LayerUse:
        spec = block.spec
        source = spec.inputs[0] if spec.inputs else block.name
        weights = self._widths_of_weights(block)
        read, written = self.precisions[source], self.precisions[block.name]
        return LayerUse(
            name=block.name,
            op=spec.op,
            depthwise=spec.depthwise,
            taps=self._taps(block),
            in_channels=self.channels[source],
            out_channels=self.channels[block.name],
            kernel=self._window(spec),
            groups=spec.attributes.get("groups", 1),
            in_size=tuple(self.shapes[source][1:]),
            out_size=tuple(self.shapes[block.name][1:]),
            weight_bits=weights.widths,
            out_per_width=weights.channels,
            in_bits=read.widths,
            in_share=read.share,
            out_bits=written.widths,
            out_share=written.share,
            inputs=spec.inputs,
            output=block.name,
            weights=spec.weights,
            when=spec.when,
            choice=spec.attributes.get("choice"),
            loop=spec.loop,
            times=self._times(spec),
            carries=spec.attributes["next"] if spec.operator.loops is Border.CARRY else "",
            table_entries=_table_entries(block, read) if self.spec.quantizers else 0,
        )

    def _taps(self, block: Block) -> Tensor | int:
        mask = block.weights.tap_mask(self.selection.share) if block.weights is not None else None
        return prod(self._window(block.spec)) if mask is None else mask.sum().to(self.alpha)

    def _times(self, spec: BlockSpec) -> int:
        """How often all elements of an output are computed."""
        return self._steps[spec.loop] if spec.loop and spec.operator.loops is not Border.GATHER else 1

    def _window(self, spec: BlockSpec) -> tuple[int, ...]:
        return spec.operator.window(spec.attributes, [self.shapes[name] for name in spec.inputs])

    def _widths_of_weights(self, block: Block) -> ChannelWidths:
        weights, out = block.weights, self.channels[block.name]
        if weights is None:
            return ChannelWidths((), out.new_zeros(0))
        if weights.quantizer is None:
            return ChannelWidths((FLOAT_BITS,), out[None])
        spec = weights.spec
        if spec.assigned is not None:
            assigned = torch.tensor(spec.assigned)
            widths = tuple(sorted(set(spec.assigned)))
            return ChannelWidths(widths, out.new_tensor([(assigned == bits).sum().item() for bits in widths]))
        share = None if spec.bits is None else self.selection.share.get(spec.bits)
        if share is None:
            return ChannelWidths(spec.widths, out[None])
        return ChannelWidths(spec.widths, self._widths[block.name] if len(share) > 1 else out * share[0].double())

    def _channels_of_each_width(self) -> dict[str, Tensor]:
        """Block -> (n_widths,), how many output channels have each, where each channel has a choice; all at once."""
        forms: dict[int, dict[str, Tensor]] = {}
        for block in self.space.blocks:
            bits = (
                block.weights.spec.bits if block.weights is not None and block.weights.quantizer is not None else None
            )
            share = None if bits is None else self.selection.share.get(bits)
            if share is not None and len(share) > 1:
                forms.setdefault(share.shape[1], {})[block.name] = share
        found: dict[str, Tensor] = {}
        for shares in forms.values():
            each = [self.space.gate_places.of(name) for name in shares]
            always = torch.zeros(max(map(len, shares.values())), dtype=torch.long, device="cpu")
            places = [
                always[: len(share)] if own is None else own for own, share in zip(each, shares.values(), strict=True)
            ]
            open_shares = (
                self.alpha.index_select(0, torch.cat(places))[:, None] * torch.cat(list(shares.values())).double()
            )
            rows = _row_sums(tuple(map(len, shares.values()))) @ open_shares
            found |= zip(shares, rows.unbind(), strict=True)
        return found


@lru_cache(maxsize=64)
def _row_sums(sizes: tuple[int, ...]) -> Tensor:
    """(n, sum of sizes), float64: times rows that lie one part after another, it gives the sum of each of n parts."""
    with torch.inference_mode(False):  # what is kept serves passes that learn too
        part = torch.arange(len(sizes), device="cpu").repeat_interleave(torch.tensor(sizes, device="cpu"))
        return torch.nn.functional.one_hot(part, len(sizes)).t().double()


def _mixture(parts: Sequence[Precision], share: Tensor) -> Precision:
    """The precision of a tensor that is one of several. share: (n_parts,), the share of each."""
    widths = tuple(sorted({bits for part in parts for bits in part.widths}))
    if len(widths) == 1:
        return Precision(widths, share.new_ones(1))
    rows = [
        part.share @ part.share.new_tensor([[float(bits == width) for width in widths] for bits in part.widths])
        for part in parts
    ]
    return Precision(widths, share @ torch.stack(rows))


def _table_entries(block: Block, read: Precision) -> Tensor | int:
    if block.pre is not None:
        return 1 << TABLE_BITS
    operator = block.spec.operator
    looks_up = operator.looks_up or operator.exponentiates
    return read.share @ read.share.new_tensor([2**bits for bits in read.widths]) if looks_up else 0
