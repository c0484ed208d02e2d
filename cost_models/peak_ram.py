"""Peak RAM: the most bytes of activation tensors that are live at once while a network runs layer by layer."""

from collections.abc import Callable, Mapping
from functools import lru_cache

import torch
from torch import Tensor

from cost_models.layer import LayerUse, Network, Order
from cost_models.rules import stacked
from cost_models.steps import ceil
from search.integer import memory
from search.integer.memory import Use

Picks = Mapping[str, int]


def runs(layer: LayerUse, picks: Picks) -> bool:
    """Whether a layer runs where these branches are picked."""
    return all(picks[choice] == option for choice, option in layer.when)


def _use(layer: LayerUse, picks: Picks) -> Use | None:
    """What a layer reads and writes; None where it does not run. A select stands for the input that is picked."""
    if not runs(layer, picks):
        return None
    if layer.choice is not None:
        picked = layer.inputs[picks[layer.choice]]
        return layer.use((), picked)
    return layer.use(layer.inputs, layer.inputs[0] if layer.operator.aliases else None)


def _spans(network: Network, picks: Picks | None = None) -> dict[str, tuple[int, int]]:
    """First and last layer at which each memory is live; search.integer.memory says what that means.

    Args:
        picks: choice of branches -> the branch that runs; None: the likeliest branches run.

    Raises:
        UnsupportedLayer: an operator is not known, so its use of memory is not known.
    """
    picks = network.picks() if picks is None else picks
    return memory.lifetimes(network.inputs, network.outputs, [_use(layer, picks) for layer in network.layers])


Plans = dict[tuple[tuple[str, int], ...], Tensor]  # picks -> what `_live` found


@lru_cache(maxsize=64)
def _plans(order: Order) -> Plans:
    """Of networks of this order. Sizes change from one step to the next, but not this."""
    return {}


def _live(network: Network, picks: Picks, plans: Plans) -> Tensor:
    """(n_layers, n_tensors) of zeros and ones: whose bytes are live while a layer runs. A row is 0 where it does not.

    Tensors are the network's inputs and then each layer's output.
    """
    key = tuple(picks.items())
    if key not in plans:
        lives = _spans(network, picks)
        names = [*network.inputs, *(layer.output for layer in network.layers)]
        spans = [lives.get(name, (1, 0)) for name in names]
        live = [
            [layer.choice is None and runs(layer, picks) and first <= step <= last for first, last in spans]
            for step, layer in enumerate(network.layers)
        ]
        with torch.inference_mode(False):  # what is kept serves gradients too
            plans[key] = torch.tensor(live, dtype=torch.float64)
    return plans[key]


def _sizes(network: Network) -> Tensor:
    """(n_tensors,), RAM of the network's inputs and each layer's output: ceil(elements * E[bits] / 8)."""
    tensors = [network.tensors[name] for name in (*network.inputs, *(layer.output for layer in network.layers))]
    elements = torch.stack([tensor.elements for tensor in tensors])
    bits = [tensor.mean_bits if len(tensor.bits) > 1 else tensor.bits[0] for tensor in tensors]
    sizes = ceil(elements * stacked(bits, elements) / 8)
    in_flash = [tensor.in_flash for tensor in tensors]
    return sizes * ~torch.tensor(in_flash, device=sizes.device) if any(in_flash) else sizes


def live_bytes(network: Network, picks: Picks | None = None) -> Tensor:
    """(n_layers,), bytes that are live while each layer runs, and 0 for a layer that does not run."""
    sizes = _sizes(network)
    return _live(network, network.picks() if picks is None else picks, _plans(network.order)).to(sizes) @ sizes


def ram_by_layer(network: Network) -> list[tuple[str, Tensor]]:
    """Names of layers with the bytes that are live while each runs, in execution order."""
    return [(layer.name, bytes_) for layer, bytes_ in zip(network.layers, live_bytes(network), strict=True)]


def peak_layer(network: Network) -> str:
    """Name of the first layer at which the most bytes are live."""
    return network.layers[int(live_bytes(network).argmax())].name


class PeakRam:
    """The largest sum of live activation tensors. Weights stay in flash, and scratch memory is the backend's."""

    name = "peak_ram_bytes"
    unit = "B"
    source = "a count over the schedule"

    def __call__(self, network: Network) -> Tensor:
        """(), bytes. The gradient is that of the layers where the peak is.

        The gradient of a branch's share is the peak that the network would have with that branch.
        """
        plans = _plans(network.order)
        return largest(network, _sizes(network), lambda picks: _live(network, picks, plans))


def largest(network: Network, sizes: Tensor, live: Callable[[Picks], Tensor]) -> Tensor:
    """(), the most bytes that are live at one step.

    Args:
        sizes: (n_memories,).
        live: from picks to (n_steps, n_memories) of zeros and ones.
    """
    picks = network.picks()
    peak = (live(picks).to(sizes) @ sizes).max()
    for choice, share in network.branches.items():
        if share.requires_grad:
            each = [live({**picks, choice: option}) for option in range(len(share))]
            peaks = (torch.stack(each).to(sizes) @ sizes.detach()).amax(1)
            peak = peak + (share - share.detach()) @ peaks
    return peak
