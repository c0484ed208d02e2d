"""The number of weights and biases: a count, so no source is needed."""

from torch import Tensor

from cost_models.layer import LayerUse, Network
from cost_models.rules import WITHOUT_PRODUCTS, Rules, nothing, summed, total
from search.integer.traits import Work


def biases(layer: LayerUse, network: Network) -> Tensor:
    """(), one a channel. A second call of shared weights has biases of its own, which hold its input's zero point."""
    return layer.out_channels if layer.operator.biased else layer.out_channels * 0


def constants(layer: LayerUse, network: Network) -> Tensor | float:
    """(), elements of a constant in the graph."""
    return layer.out_elements if layer.operator.stored else 0.0


RULES: Rules = {
    **dict.fromkeys((*WITHOUT_PRODUCTS, Work.PAIRS), nothing),
    **dict.fromkeys((Work.PRODUCTS, Work.REDUCTION), biases),
    Work.NOTHING: constants,
}


class Parameters:
    """Each stored set of weights once, and the biases of every call."""

    name = "parameters"
    unit = "parameters"
    source = "a count"

    def __call__(self, network: Network) -> Tensor:
        """(), parameters; differentiable in the channels on both sides of a layer."""
        owners = network.weight_owners
        stored = total(layer.fan_in * layer.out_channels * network.stored(layer) for layer in owners)
        return summed(self.name, RULES, network) + stored
