"""The parts of a Space, as its description says, and how they are registered."""

from collections.abc import Mapping

from torch import nn

from spaces.blocks import BLOCKS
from spaces.blocks.norm import Norm
from spaces.blocks.weights import Weights
from spaces.decisions.choice import Choice
from spaces.decisions.gates import Gate
from spaces.quantizers.activation import ActivationChoice, ActivationQuantizer, Quantizer
from spaces.spec import QuantizerSpec, SpaceSpec


def gates_of(spec: SpaceSpec) -> dict[str, Gate]:
    return {name: Gate(name, channels, **spec.gate_options) for name, channels in spec.gates.items()}


def choices_of(spec: SpaceSpec) -> dict[str, Choice]:
    """Choices by name. Choices of branches are drawn, and all branches are equally likely at the start."""
    branches = {"mode": "sampled", "uniform": True}
    return {
        name: Choice(name, c.options, c.groups, **spec.choice_options | (branches if c.branches else {}))
        for name, c in spec.choices.items()
    }


def weights_of(spec: SpaceSpec) -> dict[str, Weights]:
    return {name: Weights(name, weights, spec.choices) for name, weights in spec.weights.items()}


def norms_of(spec: SpaceSpec) -> dict[str, Norm]:
    channels = {block.norm: block.shape[0] for block in spec.blocks}
    return {name: Norm(channels[name], **arguments) for name, arguments in spec.norms.items()}


def quantizers_of(spec: SpaceSpec) -> dict[str, Quantizer]:
    """Tensor -> its quantizer, or its choice of quantizers."""
    return {tensor: _quantizer(quantizer) for tensor, quantizer in spec.quantizers.items()}


def _quantizer(spec: QuantizerSpec) -> Quantizer:
    if spec.choice is None:
        return ActivationQuantizer(spec.widths[0], spec.nonnegative, spec.ceiling, spec.grid)
    return ActivationChoice(spec.choice, spec.widths, spec.nonnegative, spec.ceiling)


def blocks_of(
    spec: SpaceSpec, weights: Mapping[str, Weights], norms: Mapping[str, Norm], quantizers: Mapping[str, Quantizer]
) -> nn.ModuleList:
    """Blocks in execution order, each with the weights, the norm and the quantizers that it shares with others."""

    def quantizer(tensor: str) -> Quantizer | None:
        return quantizers.get(spec.scale_of[tensor])

    return nn.ModuleList(
        BLOCKS[block.op](
            block,
            [quantizer(tensor) for tensor in block.inputs],
            quantizer(block.name),
            weights[block.weights] if block.weights else None,
            norms[block.norm] if block.norm else None,
        )
        for block in spec.blocks
    )


def registered(parts: Mapping[str, nn.Module]) -> nn.ModuleDict:
    """Modules under keys that a ModuleDict takes: without dots and its own names. A layer may be called `values`.

    The keys are part of the names in checkpoints and in model files.
    """
    keys = {name: name.replace(".", "/") for name in parts}
    return nn.ModuleDict({f"{key}/" if hasattr(nn.ModuleDict, key) else key: parts[name] for name, key in keys.items()})
