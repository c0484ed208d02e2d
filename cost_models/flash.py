"""Flash taken by all constants of the integer program, in bytes."""

from collections.abc import Sequence

import torch
from torch import Tensor

from cost_models.layer import LayerUse, Network
from cost_models.rules import stacked, total
from cost_models.steps import ceil
from search.integer.traits import Count

# Bytes of each stored number. The program's constants have these types.
BIAS_BYTES = 4  # int32
MULTIPLIER_BYTES = 2  # int16
SHIFT_BYTES = 1  # uint8
EXPONENTIAL_BYTES = 2  # uint16
WIDTHS_A_BYTE = 2  # 4-bit nibbles


def stored_weights(layers: Sequence[LayerUse]) -> Tensor:
    """(n,), bytes of the packed weights and of the list of widths. The row of each output channel starts on a byte.

    sum_p out_per_width[p] * ceil(fan_in * bits_p / 8), plus ceil(out_channels / 2) where channels differ in width.

    Args:
        layers: n layers with the same widths on offer.
    """
    fan_in = torch.stack([layer.fan_in for layer in layers])
    counts = torch.stack([layer.out_per_width for layer in layers])  # (n, n_widths)
    row_bytes = ceil(fan_in[:, None] * counts.new_tensor([bits / 8 for bits in layers[0].weight_bits]))
    packed = (counts * row_bytes).sum(1)
    if counts.shape[1] == 1:
        return packed
    mixed = (counts > 0).sum(1) > 1
    return packed + mixed * ceil(torch.stack([layer.out_channels for layer in layers]) / WIDTHS_A_BYTE)


def small_constants(layer: LayerUse) -> tuple[float, float]:
    """Bytes of biases, multipliers and shifts, as many as the operator's specification says: a channel, and beside."""
    operator, inputs = layer.operator, len(layer.inputs)
    stored = {operator.multipliers: 0, operator.shifts: 0, Count.CHANNELS: BIAS_BYTES if operator.biased else 0}
    stored[operator.multipliers] += MULTIPLIER_BYTES
    stored[operator.shifts] += SHIFT_BYTES
    return float(stored[Count.CHANNELS]), float(stored.get(Count.ONE, 0) + inputs * stored.get(Count.INPUTS, 0))


def table_bytes(layer: LayerUse) -> Tensor:
    """(), bytes of the activation table: an entry takes one byte, or two where the output has more than 8 bits."""
    if layer.operator.exponentiates:
        return layer.out_channels.new_tensor(EXPONENTIAL_BYTES) * layer.table_entries
    return layer.table_entries * _code_bytes(layer)


def _code_bytes(layer: LayerUse) -> Tensor:
    """(), bytes of a code of the output that is stored in flash."""
    return layer.out_share @ layer.out_share.new_tensor([1 if bits <= 8 else 2 for bits in layer.out_bits])


def stored_codes(layer: LayerUse) -> Tensor:
    """(), bytes of a constant in the graph."""
    return layer.out_elements * _code_bytes(layer)


class Flash:
    """Bytes of packed weights, widths, biases, multipliers, shifts, tables and constants in the graph."""

    name = "flash_bytes"
    unit = "B"
    source = "a count of the integer program's constants"

    def __call__(self, network: Network) -> Tensor:
        """(), bytes; differentiable in channels, widths and activation shares."""
        layers = network.layers
        tables = total(network.weighed(layer, table_bytes(layer)) for layer in layers if layer.table_entries)
        codes = total(network.weighed(layer, stored_codes(layer)) for layer in layers if layer.operator.stored)
        return _constants(network) + _weights(network) + tables + codes


def _constants(network: Network) -> Tensor:
    """(), bytes of biases, multipliers and shifts."""
    each = [small_constants(layer) for layer in network.layers]
    runs = [network.runs(layer) for layer in network.layers]
    alike = total(beside * share for (_, beside), share in zip(each, runs, strict=True) if beside)
    channels = [layer.out_channels for layer, (a_channel, _) in zip(network.layers, each, strict=True) if a_channel]
    if not channels:
        return alike
    by_channel = torch.stack(channels) * channels[0].new_tensor([a_channel for a_channel, _ in each if a_channel])
    return alike + _expected(by_channel, [share for share, (a_channel, _) in zip(runs, each, strict=True) if a_channel])


def _weights(network: Network) -> Tensor:
    """(), bytes of all stored weights."""
    forms: dict[tuple[int, ...], list[LayerUse]] = {}
    for layer in network.weight_owners:
        forms.setdefault(layer.weight_bits, []).append(layer)
    alike = forms.values()
    return total(_expected(stored_weights(each), [network.stored(layer) for layer in each]) for each in alike)


def _expected(costs: Tensor, shares: Sequence[Tensor | float]) -> Tensor:
    """(), the sum of costs (n,), each multiplied by the probability that it arises."""
    if all(isinstance(share, float) and share == 1.0 for share in shares):
        return costs.sum()
    return costs @ stacked(shares, costs)
