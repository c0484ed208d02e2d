"""Flash taken by all constants of the integer program, in bytes."""

from torch import Tensor

from cost_models.layer import LayerUse, Network
from cost_models.rules import total
from cost_models.steps import ceil
from search.integer.traits import Count

# Bytes of each stored number. The program's constants have these types.
BIAS_BYTES = 4  # int32
MULTIPLIER_BYTES = 2  # int16
SHIFT_BYTES = 1  # uint8
EXPONENTIAL_BYTES = 2  # uint16
WIDTHS_A_BYTE = 2  # 4-bit nibbles


def stored_weights(layer: LayerUse) -> Tensor:
    """(), bytes of the packed weights and of the list of widths. The row of each output channel starts on a byte.

    sum_p out_per_width[p] * ceil(fan_in * bits_p / 8), plus ceil(out_channels / 2) where channels differ in width.
    """
    row_bytes = ceil(layer.fan_in * layer.out_per_width.new_tensor([bits / 8 for bits in layer.weight_bits]))
    packed = layer.out_per_width @ row_bytes
    if len(layer.weight_bits) == 1:
        return packed
    mixed = (layer.out_per_width > 0).sum() > 1
    return packed + mixed * ceil(layer.out_channels / WIDTHS_A_BYTE)


def small_constants(layer: LayerUse) -> Tensor | float:
    """(), bytes of biases, multipliers and shifts, as many as the operator's specification says."""
    operator, inputs = layer.operator, len(layer.inputs)
    stored = {operator.multipliers: 0, operator.shifts: 0, Count.CHANNELS: BIAS_BYTES if operator.biased else 0}
    stored[operator.multipliers] += MULTIPLIER_BYTES
    stored[operator.shifts] += SHIFT_BYTES
    alike = float(stored.get(Count.ONE, 0) + inputs * stored.get(Count.INPUTS, 0))
    return layer.out_channels * stored[Count.CHANNELS] + alike if stored[Count.CHANNELS] else alike


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
        constants = total(network.weighed(layer, small_constants(layer)) for layer in layers)
        weights = total(stored_weights(layer) * network.stored(layer) for layer in network.weight_owners)
        tables = total(network.weighed(layer, table_bytes(layer)) for layer in layers if layer.table_entries)
        codes = total(network.weighed(layer, stored_codes(layer)) for layer in layers if layer.operator.stored)
        return constants + weights + tables + codes
