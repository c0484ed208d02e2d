"""Cycles of one inference, from a target's table of cycles a MAC and cycles an element."""

from math import prod

from torch import Tensor

from cost_models.layer import LayerUse, Network, UnsupportedLayer
from cost_models.rules import Rules, nothing, summed
from cost_models.target import Target
from search.integer.operators import ELEMENTWISE
from search.integer.traits import Work


class Latency:
    """The sum over all layers, which do not overlap. Any measured table will do; the figure is as good as the table."""

    name = "latency_cycles"
    unit = "cycles"

    def __init__(self, target: Target) -> None:
        self.target = target
        self.source = f"{target.cycles_per_mac_source}; {target.cycles_per_element_source}"
        by_element: Rules = dict.fromkeys((*ELEMENTWISE, Work.WINDOW, Work.REDUCTION, Work.COPY), self.element_cycles)
        products: Rules = {Work.PRODUCTS: self.mac_cycles, Work.PAIRS: self.pair_cycles}
        self._rules: Rules = {**products, **by_element, Work.NOTHING: nothing}

    def __call__(self, network: Network) -> Tensor:
        """(), cycles; differentiable in channels, widths and activation shares.

        Raises:
            UnsupportedLayer: an operator has no rule, or the target's table lacks a combination that is on offer.
        """
        return summed(self.name, self._rules, network)

    def mac_cycles(self, layer: LayerUse, network: Network) -> Tensor:
        """(), share * MACs * cycles a MAC, over all widths, and what outputs and windows take."""
        kind = kernel_kind(layer)
        rows = [[self._cycles_a_mac(layer, f"{kind}/a{a}w{w}") for w in layer.weight_bits] for a in layer.in_bits]
        a_product = layer.in_share @ layer.in_share.new_tensor(rows) @ layer.out_per_width
        target = self.target
        products = layer.fan_in * a_product * layer.positions
        outputs = layer.out_channels * (layer.positions * target.cycles_per_output.get(kind, 0.0))
        return products + outputs + gathered(layer) * target.cycles_per_gathered.get(kind, 0.0)

    def pair_cycles(self, layer: LayerUse, network: Network) -> Tensor:
        """(), products of two activations cost what those of a linear layer with 8-bit weights cost."""
        rows = [self._cycles_a_mac(layer, f"linear/a{a}w8") for a in layer.in_bits]
        return layer.out_elements * prod(layer.kernel) * (layer.in_share @ layer.in_share.new_tensor(rows))

    def _cycles_a_mac(self, layer: LayerUse, key: str) -> float:
        target = self.target
        if key not in target.cycles_per_mac:
            raise UnsupportedLayer(
                f"latency_cycles: layer '{layer.name}' needs '{key}', which cycles_per_mac of target "
                f"'{target.name}' lacks; it has {', '.join(target.cycles_per_mac)}. "
                "Add a measurement or take the width out of the space."
            )
        return target.cycles_per_mac[key]

    def element_cycles(self, layer: LayerUse, network: Network) -> Tensor:
        """(), cycles an element times output elements; for a pool, times the elements in its windows."""
        target, key = self.target, layer.operator.priced_as or layer.op
        if key not in target.cycles_per_element:
            raise UnsupportedLayer(
                f"latency_cycles: layer '{layer.name}' has op '{layer.op}' and needs '{key}', which cycles_per_element "
                f"of target '{target.name}' lacks; it has {', '.join(target.cycles_per_element)}. Add a measurement."
            )
        return layer.out_elements * (prod(layer.kernel) * target.cycles_per_element[key])


def gathered(layer: LayerUse) -> Tensor:
    """(), codes that are brought into windows at all places. A depthwise layer, which reads in place, has taps."""
    taps = prod(layer.kernel) if layer.taps is None else layer.taps
    read = layer.in_channels.new_tensor(1) if layer.runs_depthwise else layer.in_channels
    return read * taps * layer.positions


def kernel_kind(layer: LayerUse) -> str:
    """The vendor's kernel that runs a layer with weights: depthwise, pointwise (every tap count 1), conv or linear."""
    if layer.runs_depthwise:
        return "depthwise"
    taps = prod(layer.kernel) if layer.taps is None else layer.taps
    plain = layer.kernel and (layer.groups == 1 or layer.depthwise)
    return "pointwise" if plain and bool(taps == 1) else layer.operator.priced_as or layer.op
