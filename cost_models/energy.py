"""Energy of one inference in a 45 nm process, in picojoules.

Source: Horowitz, "Computing's energy problem", ISSCC 2014, figure 1.1.9: 45 nm, 0.9 V, arithmetic and cache accesses.

Arithmetic. A product of b_a by b_w bits costs b_a * b_w / 64 of an 8-bit product, because the area of a multiplier
grows with both widths. It is added to a 32-bit accumulator. Elementwise sums and pools cost one 32-bit addition for
each element that they read.

Memory. Each weight bit is read once a call. Each bit of an activation tensor is written once by its producer and read
once by each reader. No layer writes the network's input. A table is read once for each element of its output.
A bit costs 1/64 of a 64-bit access to a 32 kB cache.

Requantization, reads of biases and multipliers, instruction fetch and control are not counted for any operator.
"""

from collections import Counter
from math import prod

from torch import Tensor

from cost_models.flash import EXPONENTIAL_BYTES
from cost_models.layer import LayerUse, Network
from cost_models.rules import Rules, nothing, summed, total
from search.integer.traits import Border, Work

MULTIPLY_8_PJ = 0.2
ADD_32_PJ = 0.1
ACCESS_PJ = 20.0  # 64 bits, 32 kB cache
PRODUCT_PJ = MULTIPLY_8_PJ / (8 * 8)  # of one bit by one bit
MEMORY_PJ = ACCESS_PJ / 64  # one bit


def accumulate(layer: LayerUse, network: Network) -> Tensor:
    """(), every weight bit is read once, and every MAC is a product of input and weight bits and an addition."""
    a_weight_bit = (PRODUCT_PJ * layer.positions) * layer.mean_in_bits + MEMORY_PJ
    adds = (ADD_32_PJ * layer.positions) * layer.out_channels
    return layer.fan_in * (layer.channel_bits * a_weight_bit + adds)


def add(layer: LayerUse, network: Network) -> Tensor:
    """(), each output element adds up one element of each input."""
    return ADD_32_PJ * len(layer.inputs) * layer.out_elements


def multiply(layer: LayerUse, network: Network) -> Tensor:
    """(), each output element is one product of the inputs' bits."""
    first, second = (network.tensors[name].mean_bits for name in layer.inputs)
    return PRODUCT_PJ * first * second * layer.out_elements


def pool(layer: LayerUse, network: Network) -> Tensor:
    """(), each element in a window is added, or compared, which is taken to cost as much as an addition."""
    return ADD_32_PJ * prod(layer.kernel) * layer.out_elements


def pairs(layer: LayerUse, network: Network) -> Tensor:
    """(), each element is a sum of products of two activations."""
    first, second = (network.tensors[name].mean_bits for name in layer.inputs)
    return layer.out_elements * prod(layer.kernel) * (PRODUCT_PJ * first * second + ADD_32_PJ)


def reduce(layer: LayerUse, network: Network) -> Tensor:
    """(), each element is squared or looked up, added up twice, and scaled by what came of that."""
    return (2 * MULTIPLY_8_PJ + 2 * ADD_32_PJ) * layer.out_elements


RULES: Rules = {
    Work.PRODUCTS: accumulate,
    Work.SUM: add,
    Work.PRODUCT: multiply,
    Work.WINDOW: pool,
    Work.PAIRS: pairs,
    Work.REDUCTION: reduce,
    # No arithmetic: what they read and write is counted with the tensors, a table with its entries.
    **dict.fromkeys((Work.LOOK_UP, Work.COPY, Work.NOTHING), nothing),
}


def activation_bits(network: Network) -> Tensor:
    """(), activation bits that are written and read. Where no code runs, nothing moves: the output is its input."""
    always: Counter[str] = Counter()
    terms: list[Tensor | float] = []
    for layer in network.layers:
        if layer.operator.work is Work.NOTHING:
            continue
        moved = _moved(layer)
        if layer.when:
            bits = total(network.tensors[name].total_bits * count for name, count in moved.items())
            terms.append(network.weighed(layer, bits))
        else:
            always.update(moved)
    return total([*terms, *(network.tensors[name].total_bits * count for name, count in always.items())])


def _moved(layer: LayerUse) -> Counter[str]:
    """Tensor -> how often a layer reads or writes all of it."""
    if layer.operator.loops is Border.READ:  # a part of its input each time
        return Counter({layer.inputs[0]: 1, layer.output: layer.times})
    if layer.operator.loops is not None:  # it reads as much as it writes
        return Counter({layer.output: 2 * layer.times})
    return Counter((*layer.inputs, layer.output) * layer.times)


def table_bits(network: Network) -> Tensor:
    """(), bits looked up in tables: one entry for each element of the output."""
    looked_up = [layer for layer in network.layers if layer.table_entries]
    return total(network.weighed(layer, layer.times * layer.out_elements * _entry_bits(layer)) for layer in looked_up)


def _entry_bits(layer: LayerUse) -> Tensor | int:
    """(), bits of an entry of a table of exponentials, or of codes of the output."""
    return 8 * EXPONENTIAL_BYTES if layer.operator.exponentiates else layer.mean_out_bits


class Energy:
    """Arithmetic and memory traffic; the module's text says what exactly."""

    name = "energy_pj"
    unit = "pJ"
    source = "Horowitz, ISSCC 2014, 45 nm"

    def __call__(self, network: Network) -> Tensor:
        """(), pJ; differentiable in channels, widths and activation shares."""
        arithmetic = summed(self.name, RULES, network)
        return arithmetic + MEMORY_PJ * (activation_bits(network) + table_bits(network))
