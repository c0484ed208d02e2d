"""Peak RAM: the most bytes of activation tensors that are live at once, over the schedule."""

from collections.abc import Mapping

import torch
from torch import Tensor

from cost_models.layer import LayerUse, Network
from cost_models.rules import rule_for
from cost_models.steps import ceil


def output_and_inputs(layer: LayerUse) -> tuple[str, ...]:
    """The op holds its inputs and its output at once; nothing is computed in place."""
    return (*layer.inputs, layer.output)


RULES = {
    "conv": output_and_inputs,
    "depthwise": output_and_inputs,
    "linear": output_and_inputs,
    "add": output_and_inputs,
    "mul": output_and_inputs,
    "concat": output_and_inputs,
    "max_pool": output_and_inputs,
    "avg_pool": output_and_inputs,
    "flatten": output_and_inputs,  # one memory, by TensorUse.alias_of
    "table": output_and_inputs,
    "select": output_and_inputs,  # of the input that is picked, and one memory
}

Picks = Mapping[str, int]


def _runs(layer: LayerUse, picks: Picks) -> bool:
    return all(picks[choice] == option for choice, option in layer.when)


def _memory(network: Network, name: str, picks: Picks) -> str:
    """The tensor whose bytes hold `name`."""
    selects = {layer.output: layer for layer in network.layers if layer.choice is not None} if picks else {}
    while True:
        if name in selects:
            name = selects[name].inputs[picks[selects[name].choice or ""]]
        elif (parent := network.tensors[name].alias_of) is not None:
            name = parent
        else:
            return name


def lifetimes(network: Network, picks: Picks | None = None) -> dict[str, tuple[int, int]]:
    """First and last layer at which each memory is live.

    The network's input is live from the start, its output to the end; a tensor that nothing reads, where it is
    written. An alias has no memory of its own and keeps the memory it names alive. Of branches those that are picked
    run, the likeliest if nothing else is said.

    Raises:
        UnsupportedLayer: an op whose use of memory is not known.
    """
    picks = network.picks() if picks is None else picks
    uses = [(_memory(network, network.input, picks), 0)]
    for step, layer in enumerate(network.layers):
        names = rule_for(PeakRam.name, RULES, layer)(layer)
        if layer.choice is not None:
            names = (layer.output,)
        if _runs(layer, picks):
            uses.extend((_memory(network, name, picks), step) for name in names)
    uses.append((_memory(network, network.output, picks), len(network.layers) - 1))
    steps: dict[str, list[int]] = {}
    for name, step in uses:
        steps.setdefault(name, []).append(step)
    return {name: (min(used), max(used)) for name, used in steps.items()}


def live_bytes(network: Network, picks: Picks | None = None) -> Tensor:
    """(n_layers,), bytes live while each layer runs, 0 where it does not.

    A tensor takes ceil(elements * E[bits] / 8).
    """
    picks = network.picks() if picks is None else picks
    lives = lifetimes(network, picks)
    sizes = ceil(torch.stack([network.tensors[name].total_bits for name in lives]) / 8)
    live = [
        [_runs(layer, picks) and layer.choice is None and first <= step <= last for first, last in lives.values()]
        for step, layer in enumerate(network.layers)
    ]
    return torch.tensor(live, dtype=sizes.dtype, device=sizes.device) @ sizes


def ram_by_layer(network: Network) -> list[tuple[str, Tensor]]:
    """Layer names with the bytes live while each runs, in execution order."""
    return [(layer.name, bytes_) for layer, bytes_ in zip(network.layers, live_bytes(network), strict=True)]


def peak_layer(network: Network) -> str:
    """Name of the first layer at which the most bytes are live."""
    return network.layers[int(live_bytes(network).argmax())].name


class PeakRam:
    """Largest sum of live activation tensors; weights stay in flash and scratch memory is the backend's."""

    name = "peak_ram_bytes"
    unit = "B"
    source = "a count over the schedule"

    def __call__(self, network: Network) -> Tensor:
        """(), bytes; the gradient is that of the layers where the peak is.

        A branch's share has for gradient the peak that the network would have with that branch.
        """
        picks = network.picks()
        peak = live_bytes(network, picks).max()
        for choice, share in network.branches.items():
            if share.requires_grad:
                with torch.no_grad():
                    options = [live_bytes(network, {**picks, choice: k}).max() for k in range(len(share))]
                peak = peak + (share - share.detach()) @ torch.stack(options)
        return peak
