"""A Space as the cost models see it."""

from math import prod

import torch
from torch import Tensor

from cost_models.layer import LayerUse, Network, TensorUse
from spaces.blocks.block import TABLE_BITS
from spaces.quantizers import ActivationChoice

FLOAT_BITS = 32


def describe(space, selection) -> Network:
    """Channels and channels a width out of the decisions, in float64."""
    counts = space.slots.counts
    alpha = selection.alpha * space.selector.copies().double() if selection.alpha is not None else counts.new_ones(1)
    channels = dict(zip(space.spec.slots, (counts @ alpha).unbind(), strict=True))
    one = counts.new_ones(1)
    layers = []
    shapes = space.spec.shapes
    bits = _all_bits(space, selection, one)
    for block in space.blocks:
        layers.append(_layer(space, block, selection, alpha, channels, bits, shapes))
    tensors = {name: _tensor(name, channels, shape, bits) for name, shape in shapes.items()}
    branches = {n: selection.share[n][0].double() for n, c in space.spec.choices.items() if c.branches}
    return Network(tuple(layers), tensors, space.spec.inputs, space.spec.outputs, branches)


def _all_bits(space, selection, one: Tensor) -> dict[str, tuple[tuple[int, ...], Tensor]]:
    """Tensor -> widths on offer, and their shares; behind a select those of its inputs, as far as they are picked."""
    found = {name: _bits(space, selection, name, one) for name in space.spec.inputs}
    for block in space.spec.blocks:
        scale = space.spec.scale_of[block.name]
        if block.operator.picks:
            share = selection.share[block.attributes["choice"]][0].double()
            found[block.name] = _mixture([found[name] for name in block.inputs], share)
        else:
            found[block.name] = found[scale] if scale in found else _bits(space, selection, block.name, one)
    return found


def _mixture(parts: list[tuple[tuple[int, ...], Tensor]], share: Tensor) -> tuple[tuple[int, ...], Tensor]:
    widths = tuple(sorted({bits for offered, _ in parts for bits in offered}))
    if len(widths) == 1:
        return widths, share.new_ones(1)
    rows = [
        shares @ shares.new_tensor([[float(bits == width) for width in widths] for bits in offered])
        for offered, shares in parts
    ]
    return widths, share @ torch.stack(rows)


def _bits(space, selection, tensor: str, one: Tensor) -> tuple[tuple[int, ...], Tensor]:
    """Widths on offer for a tensor, and their shares."""
    quantizer = space.quantizer(tensor)
    if isinstance(quantizer, ActivationChoice):
        return quantizer.widths, selection.share[quantizer.choice][0].double()
    return (quantizer.bits if quantizer is not None else FLOAT_BITS,), one


def _tensor(name: str, channels: dict, shape: tuple, bits: dict) -> TensorUse:
    spatial = prod(shape[1:])
    elements = channels[name] * spatial if spatial != 1 else channels[name]
    widths, share = bits[name]
    return TensorUse(name, elements, widths, share)


def _layer(space, block, selection, alpha: Tensor, channels: dict, bits: dict, shapes: dict) -> LayerUse:
    spec = block.spec
    source = spec.inputs[0]
    widths, per_width = _per_width(space, block, selection, alpha, channels[block.name])
    (in_bits, in_share), (out_bits, out_share) = bits[source], bits[block.name]
    return LayerUse(
        name=block.name,
        op=spec.op,
        depthwise=spec.depthwise,
        taps=_taps(block, selection, alpha),
        in_channels=channels[source],
        out_channels=channels[block.name],
        kernel=tuple(spec.attributes.get("kernel", ())),
        groups=spec.attributes.get("groups", 1),
        in_size=tuple(shapes[source][1:]),
        out_size=tuple(shapes[block.name][1:]),
        weight_bits=widths,
        out_per_width=per_width,
        in_bits=in_bits,
        in_share=in_share,
        out_bits=out_bits,
        out_share=out_share,
        inputs=spec.inputs,
        output=block.name,
        weights=spec.weights,
        when=spec.when,
        choice=spec.attributes.get("choice"),
        table_entries=_table_entries(block, in_bits, in_share) if space.spec.quantizers else 0,
    )


def _taps(block, selection, like: Tensor) -> Tensor | int:
    mask = block.weights.tap_mask(selection.share) if block.weights is not None else None
    return prod(block.spec.attributes.get("kernel", ())) if mask is None else mask.sum().to(like)


def _table_entries(block, in_bits: tuple[int, ...], in_share: Tensor) -> Tensor | int:
    if block.pre is not None:
        return 2**TABLE_BITS
    looks_up = block.spec.operator.looks_up
    return in_share @ in_share.new_tensor([2**bits for bits in in_bits]) if looks_up else 0


def _per_width(space, block, selection, alpha: Tensor, out: Tensor) -> tuple[tuple[int, ...], Tensor]:
    weights = block.weights
    if weights is None:
        return (), out.new_zeros(0)
    if weights.quantizer is None:
        return (FLOAT_BITS,), out[None]
    if weights.spec.assigned is not None:
        assigned = torch.tensor(weights.spec.assigned)
        widths = tuple(sorted(set(weights.spec.assigned)))
        return widths, out.new_tensor([(assigned == b).sum().item() for b in widths])
    share = selection.share.get(weights.spec.bits)
    if share is None:
        return weights.spec.widths, out[None]
    share = share.double()
    if len(share) == 1:
        return weights.spec.widths, out * share[0]
    slots = space.slots.of(block.name)
    keep = alpha.index_select(0, slots) if slots is not None else out.new_ones(len(share))
    return weights.spec.widths, keep @ share
