"""Cycles of one inference, from a target's table of cycles a MAC and cycles an element."""

from collections.abc import Callable
from math import prod

from torch import Tensor

from cost_models.layer import LayerUse, Network, UnsupportedLayer
from cost_models.rules import rule_for, total
from cost_models.target import Target


class Latency:
    """Sum over layers; nothing overlaps. Any measured table does: the figure is as good as its source."""

    name = "latency_cycles"
    unit = "cycles"

    def __init__(self, target: Target):
        self.target = target
        self.source = f"{target.cycles_per_mac_source}; {target.cycles_per_element_source}"

    def __call__(self, network: Network) -> Tensor:
        """(), cycles; differentiable in channels, widths and activation shares.

        Raises:
            UnsupportedLayer: an op without a rule, or a combination on offer that the target's table lacks.
        """
        layers = network.layers
        return total(network.weighed(layer, rule_for(self.name, RULES, layer)(self.target, layer)) for layer in layers)


def kernel_kind(layer: LayerUse) -> str:
    """The vendor kernel that runs a layer: conv, pointwise (every tap count 1), depthwise or linear."""
    taps = prod(layer.kernel) if layer.taps is None else layer.taps
    pointwise = layer.op == "conv" and layer.groups == 1 and bool(taps == 1)
    return "pointwise" if pointwise else layer.op


def mac_cycles(target: Target, layer: LayerUse) -> Tensor:
    """(), sum over activation and weight widths of share * MACs * cycles a MAC."""
    kind = kernel_kind(layer)
    rows = [[_cycles_a_mac(target, layer, f"{kind}/a{a}w{w}") for w in layer.weight_bits] for a in layer.in_bits]
    a_product = layer.in_share @ layer.in_share.new_tensor(rows) @ layer.out_per_width
    return layer.fan_in * a_product * layer.positions


def _cycles_a_mac(target: Target, layer: LayerUse, key: str) -> float:
    if key not in target.cycles_per_mac:
        raise UnsupportedLayer(
            f"latency_cycles: layer '{layer.name}' needs '{key}', which cycles_per_mac of target "
            f"'{target.name}' lacks; it has {', '.join(target.cycles_per_mac)}. "
            "Add a measurement or take the width out of the space."
        )
    return target.cycles_per_mac[key]


def element_cycles(target: Target, layer: LayerUse) -> Tensor:
    """(), cycles an element times output elements, or times elements in windows for a pool."""
    if layer.op not in target.cycles_per_element:
        raise UnsupportedLayer(
            f"latency_cycles: layer '{layer.name}' has op '{layer.op}', which cycles_per_element of target "
            f"'{target.name}' lacks; it has {', '.join(target.cycles_per_element)}. Add a measurement."
        )
    return layer.out_elements * (prod(layer.kernel) * target.cycles_per_element[layer.op])


def no_cycles(target: Target, layer: LayerUse) -> float:
    """A flatten is another view of its input's memory, a select one of its inputs: nothing runs."""
    return 0.0


RULES: dict[str, Callable[[Target, LayerUse], Tensor | float]] = {
    "conv": mac_cycles,
    "depthwise": mac_cycles,
    "linear": mac_cycles,
    "add": element_cycles,
    "mul": element_cycles,
    "concat": element_cycles,
    "max_pool": element_cycles,
    "avg_pool": element_cycles,
    "flatten": no_cycles,
    "table": element_cycles,
    "select": no_cycles,
}
