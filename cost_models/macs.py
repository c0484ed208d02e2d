"""Multiply-accumulates of one inference. 1 MAC = 2 FLOPs."""

from torch import Tensor

from cost_models.layer import LayerUse, Network
from cost_models.rules import LayerRule, rule_for, total


def products(layer: LayerUse) -> Tensor:
    """(), positions * fan_in * out_channels, with fan_in = prod(kernel) * in_channels / groups."""
    return layer.fan_in * layer.out_elements


def no_products(layer: LayerUse) -> float:
    """Adds, compares, scales, copies or looks up single elements: nothing is multiplied and accumulated."""
    return 0.0


RULES: dict[str, LayerRule] = {
    "conv": products,
    "depthwise": products,
    "linear": products,
    "add": no_products,
    "mul": no_products,
    "concat": no_products,
    "max_pool": no_products,
    "avg_pool": no_products,
    "flatten": no_products,
    "table": no_products,
    "select": no_products,
}


class Macs:
    """Products of convolutions and linear layers, padding included, as the integer program executes them."""

    name = "macs"
    unit = "MAC"
    source = "a count"

    def __call__(self, network: Network) -> Tensor:
        """(), MACs; differentiable in the channels on both sides of a layer."""
        return total(network.weighed(layer, rule_for(self.name, RULES, layer)(layer)) for layer in network.layers)
