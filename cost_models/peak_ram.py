"""Peak RAM: the most bytes of activation tensors that are live at once, over the schedule."""

from collections.abc import Mapping
from functools import lru_cache

import torch
from torch import Tensor

from cost_models.layer import LayerUse, Network, Order
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


def _memories(network: Network, picks: Picks) -> dict[str, str]:
    """Tensor -> the tensor whose bytes hold it."""
    found = {network.input: network.input}
    for layer in network.layers:
        parent = network.tensors[layer.output].alias_of
        if layer.choice is not None:
            parent = layer.inputs[picks[layer.choice]]
        found[layer.output] = layer.output if parent is None else found[parent]
    return found


def lifetimes(network: Network, picks: Picks | None = None) -> dict[str, tuple[int, int]]:
    """First and last layer at which each memory is live.

    The network's input is live from the start, its output to the end; a tensor that nothing reads, where it is
    written. An alias has no memory of its own and keeps the memory it names alive. Of branches those that are picked
    run, the likeliest if nothing else is said.

    Raises:
        UnsupportedLayer: an op whose use of memory is not known.
    """
    picks = network.picks() if picks is None else picks
    memory = _memories(network, picks)
    lives = {memory[network.input]: (0, 0)}
    for step, layer in enumerate(network.layers):
        names = rule_for(PeakRam.name, RULES, layer)(layer)
        if _runs(layer, picks):
            for name in names if layer.choice is None else (layer.output,):
                lives[memory[name]] = lives.get(memory[name], (step, step))[0], step
    output = memory[network.output]
    lives[output] = lives.get(output, (len(network.layers) - 1, 0))[0], len(network.layers) - 1
    return lives


@lru_cache(maxsize=64)
def _plans(order: Order) -> dict[tuple[tuple[str, int], ...], Tensor]:
    """Of networks of one order what `_live` has given, by picks: sizes change from step to step, that does not."""
    return {}


def _live(network: Network, picks: Picks, plans: dict[tuple[tuple[str, int], ...], Tensor]) -> Tensor:
    """(n_layers, n_tensors) of zeros and ones: whose bytes are live while a layer runs, 0 where it does not run.

    Tensors are the network's input and then each layer's output.
    """
    key = tuple(picks.items())
    if key not in plans:
        lives = lifetimes(network, picks)
        names = [network.input, *(layer.output for layer in network.layers)]
        spans = [lives.get(name, (1, 0)) for name in names]
        live = [
            [layer.choice is None and _runs(layer, picks) and first <= step <= last for first, last in spans]
            for step, layer in enumerate(network.layers)
        ]
        plans[key] = torch.tensor(live, dtype=torch.float64)
    return plans[key]


def _sizes(network: Network) -> Tensor:
    """(n_tensors,), bytes of the network's input and each layer's output: ceil(elements * E[bits] / 8)."""
    names = [network.input, *(layer.output for layer in network.layers)]
    return ceil(torch.stack([network.tensors[name].total_bits for name in names]) / 8)


def live_bytes(network: Network, picks: Picks | None = None) -> Tensor:
    """(n_layers,), bytes live while each layer runs, 0 where it does not."""
    sizes = _sizes(network)
    return _live(network, network.picks() if picks is None else picks, _plans(network.order)).to(sizes) @ sizes


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
        picks, plans, sizes = network.picks(), _plans(network.order), _sizes(network)
        peak = (_live(network, picks, plans).to(sizes) @ sizes).max()
        for choice, share in network.branches.items():
            if share.requires_grad:
                each = [_live(network, {**picks, choice: option}, plans) for option in range(len(share))]
                peaks = (torch.stack(each).to(sizes) @ sizes.detach()).amax(1)
                peak = peak + (share - share.detach()) @ peaks
        return peak
