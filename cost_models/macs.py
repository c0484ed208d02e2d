"""Multiply-accumulates of one inference: a count, so no source is needed. 1 MAC = 2 FLOPs."""

from math import prod

from torch import Tensor

from cost_models.layer import LayerUse, Network
from cost_models.rules import WITHOUT_PRODUCTS, Rules, nothing, summed
from search.integer.traits import Work


def products(layer: LayerUse, network: Network) -> Tensor:
    """(), positions * fan_in * out_channels, with fan_in = prod(kernel) * in_channels / groups."""
    return layer.fan_in * (layer.out_channels * layer.positions)


def pairs(layer: LayerUse, network: Network) -> Tensor:
    """(), products of codes with codes: as many an element as are added up."""
    return layer.out_elements * prod(layer.kernel)


RULES: Rules = {Work.PRODUCTS: products, Work.PAIRS: pairs, **dict.fromkeys(WITHOUT_PRODUCTS, nothing)}


class Macs:
    """Products of weights and codes, padding included, and of codes and codes, as the integer program executes them."""

    name = "macs"
    unit = "MAC"
    source = "a count"

    def __call__(self, network: Network) -> Tensor:
        """(), MACs; differentiable in the channels on both sides of a layer."""
        return summed(self.name, RULES, network)
