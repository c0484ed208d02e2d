"""Bit operations of one inference. Source: UNIQ, arXiv 1804.10969."""

from math import log2, prod

import torch
from torch import Tensor

from cost_models.layer import LayerUse, Network
from cost_models.rules import WITHOUT_PRODUCTS, Rules, nothing, summed
from search.integer.traits import Work


def bit_operations(layer: LayerUse, network: Network) -> Tensor:
    """(), expected bit operations of one convolution or linear layer.

    MACs * (b_a * b_w + b_a + b_w + log2(fan_in)) counts the products, and accumulators that are wide enough for fan_in
    of them. b_a and b_w are chosen independently, so the expected bits give the expectation.
    """
    channels, channel_bits, in_bits = layer.out_channels, layer.channel_bits, layer.mean_in_bits
    fan_in = layer.fan_in
    carry = torch.log2(fan_in.clamp(min=1.0))  # a layer with no input left adds up nothing
    a_position = in_bits * (channel_bits + channels) + channel_bits + channels * carry
    return fan_in * a_position * layer.positions


def of_pairs(layer: LayerUse, network: Network) -> Tensor:
    """(), the same of products of two activations, the second of which stands for the weights."""
    first, second = (network.tensors[name].mean_bits for name in layer.inputs)
    added = prod(layer.kernel)
    return layer.out_elements * added * (first * second + first + second + log2(added))


# UNIQ counts convolutions and linear layers; elementwise operators and pools are no part of the figure.
RULES: Rules = {Work.PRODUCTS: bit_operations, Work.PAIRS: of_pairs, **dict.fromkeys(WITHOUT_PRODUCTS, nothing)}


class Bops:
    """Bit operations of convolutions and linear layers."""

    name = "bops"
    unit = "BOP"
    source = "UNIQ, arXiv 1804.10969"

    def __call__(self, network: Network) -> Tensor:
        """(), bit operations; differentiable in channels, widths and activation shares."""
        return summed(self.name, RULES, network)
