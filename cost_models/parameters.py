"""Weights and biases, as a count of numbers."""

from torch import Tensor

from cost_models.layer import LayerUse, Network
from cost_models.rules import LayerRule, rule_for, total


def biases(layer: LayerUse) -> Tensor:
    """(), one a channel. A second call of shared weights has its own: the bias holds the input's zero point."""
    return layer.out_channels


def no_parameters(layer: LayerUse) -> float:
    """The op has nothing that is trained."""
    return 0.0


RULES: dict[str, LayerRule] = {
    "conv": biases,
    "depthwise": biases,
    "linear": biases,
    "add": no_parameters,
    "mul": no_parameters,
    "concat": no_parameters,
    "max_pool": no_parameters,
    "avg_pool": no_parameters,
    "flatten": no_parameters,
    "table": no_parameters,
    "select": no_parameters,
}


class Parameters:
    """Weights, once for each stored set, and the biases of every call."""

    name = "parameters"
    unit = "parameters"
    source = "a count"

    def __call__(self, network: Network) -> Tensor:
        """(), parameters; differentiable in the channels on both sides of a layer."""
        own = total(network.weighed(layer, rule_for(self.name, RULES, layer)(layer)) for layer in network.layers)
        owners = network.weight_owners
        return own + total(layer.fan_in * layer.out_channels * network.stored(layer) for layer in owners)
