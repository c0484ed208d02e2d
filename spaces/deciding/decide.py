"""From open to decided: a closed channel is physically gone from its layer, its norm and every reader."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from search.integer.traits import Channels as Where
from spaces.architecture import Picks
from spaces.blocks.kernel_taps import cropped
from spaces.blocks.weights import Kept
from spaces.deciding.resolve import resolved
from spaces.spec import BlockSpec, QuantizerSpec, SpaceSpec, WeightsSpec

Channels = Mapping[str, Tensor]  # tensor -> indices of the channels that stay, a copied one several times


@dataclass(frozen=True)
class Decided:
    """A decided network, and what its parts inherit from the parts of the open one with the same names.

    Attributes:
        channels: tensor -> (C,), indices of the channels that stay.
        norms: name -> the same.
        weights: name -> what stays of the weights.
    """

    spec: SpaceSpec
    channels: Channels
    norms: dict[str, Tensor]
    weights: dict[str, Kept]


def decided(spec: SpaceSpec, picks: Picks) -> Decided:
    """The network without decisions, in which every decision took its pick.

    Args:
        picks: of every decision, as in an Architecture.
    """
    before = resolved(spec, picks)
    channels = _channels_kept(before, picks)
    weights = {name: _kept(before, name, channels, picks) for name in before.weights}
    norms = {block.norm: channels[block.name] for block in reversed(before.blocks) if block.norm}
    spec = copy.deepcopy(before)
    spec.gates, spec.choices, spec.slots = {}, {}, {name: [0] * len(index) for name, index in channels.items()}
    for block in spec.blocks:
        _shrink_block(block, channels)
        if block.weights and before.weights[block.weights].taps:
            block.attributes, _ = cropped(block.attributes, _taps_picked(before.weights[block.weights], picks))
    spec.weights = {name: _shrunk(w, weights[name], picks) for name, w in before.weights.items()}
    spec.quantizers = {name: _picked(q, picks) for name, q in before.quantizers.items()}
    return Decided(spec, channels, norms, weights)


def order_matters(spec: SpaceSpec) -> list[str]:
    """Blocks to which the order or the number of channels matters, of which some may be copied."""
    found = []
    for block in spec.blocks:
        if not any(any(spec.slots[name]) for name in block.inputs):
            continue
        splits = block.operator.aliases and len(spec.slots[block.name]) < len(spec.slots[block.inputs[0]])
        takes = block.operator.channels is Where.TAKEN and bool(block.attributes["indices"][0])
        measures = block.operator.channels is Where.REDUCED and 0 in block.attributes.get("axes", ())
        if splits or takes or measures:
            found.append(block.name)
    return found


def _channels_kept(spec: SpaceSpec, picks: Picks) -> Channels:
    """Tensor -> the channels that stay, in order. A channel that is copied stands there several times."""
    times = torch.cat([torch.ones(1, dtype=torch.long), *[torch.tensor(picks[gate]) for gate in spec.gates]])
    keep = {}
    for name, places in spec.slots.items():
        each = times[torch.tensor(places)]
        keep[name] = torch.arange(len(places)).repeat_interleave(each)
    for block in spec.blocks:
        if not block.inputs:
            continue
        first = block.inputs[0]
        if block.operator.aliases and len(spec.slots[block.name]) % len(spec.slots[first]) == 0:
            # a copied channel's values stand together
            size = len(spec.slots[block.name]) // len(spec.slots[first])
            keep[block.name] = (keep[first][:, None] * size + torch.arange(size)).flatten()
        elif spec.slots[block.name] == spec.slots[first] and (block.depthwise or not block.operator.weighted):
            keep[block.name] = keep[first]  # and so do those of what passes them on
    return keep


def _shrink_block(block: BlockSpec, keep: Channels) -> None:
    block.shape = (len(keep[block.name]), *block.shape[1:])
    if block.depthwise:
        block.attributes["groups"] = len(keep[block.inputs[0]])
    if block.operator.aliases:
        block.attributes["shape"] = [len(keep[block.name]), *block.attributes["shape"][1:]]
    if block.operator.channels is Where.TAKEN and block.attributes["indices"][0]:
        places = {channel: place for place, channel in enumerate(keep[block.inputs[0]].tolist())}
        taken = [block.attributes["indices"][0][channel] for channel in keep[block.name].tolist()]
        block.attributes["indices"] = [[places[channel] for channel in taken], *block.attributes["indices"][1:]]


def _kept(spec: SpaceSpec, weights: str, keep: Channels, picks: Picks) -> Kept:
    """What stays of stored weights, by their first use."""
    block = next(b for b in spec.blocks if b.weights == weights)
    source = block.inputs[0]
    groups, inputs = block.attributes.get("groups", 1), len(spec.slots[source])
    columns = keep[source]
    if groups > 1:
        columns = torch.zeros(1, dtype=torch.long) if block.depthwise else columns[columns < inputs // groups]
    stored = spec.weights[weights]
    taps = cropped(block.attributes, _taps_picked(stored, picks))[1] if stored.taps else ()
    return Kept(keep[block.name], columns, taps)


def _taps_picked(weights: WeightsSpec, picks: Picks) -> dict[str, int]:
    """Role of a choice of taps -> the option that it took."""
    return {role: picks[choice][0] for role, choice in weights.taps.items()}


def _shrunk(weights: WeightsSpec, kept: Kept, picks: Picks) -> WeightsSpec:
    bits = _bits(weights, picks)
    assigned = None if bits is None else tuple(bits[row] for row in kept.rows.tolist())
    kernel = tuple(map(len, kept.taps)) if kept.taps else weights.shape[2:]
    shape = (len(kept.rows), len(kept.columns), *kernel)
    return WeightsSpec(
        shape=shape,
        bias=weights.bias,
        assigned=assigned,
        masked=bool(weights.pattern) or weights.masked,
        constant=weights.constant,
    )


def _bits(weights: WeightsSpec, picks: Picks) -> tuple[int, ...] | None:
    """The bits of each channel, before any channel goes; None: the weights are floats."""
    channels = weights.shape[0]
    if weights.bits is not None:
        pick = picks[weights.bits]
        return pick * channels if len(pick) == 1 else pick
    return weights.assigned if weights.assigned is not None else weights.widths * channels or None


def _picked(quantizer: QuantizerSpec, picks: Picks) -> QuantizerSpec:
    widths = quantizer.widths if quantizer.choice is None else picks[quantizer.choice]
    return replace(quantizer, widths=widths, choice=None)
