"""What each layer of a decided network costs."""

import dataclasses

import torch

from cost_models.flash import Flash
from cost_models.layer import LayerUse, Network
from cost_models.macs import Macs
from cost_models.peak_ram import PeakRam, peak_layer, ram_by_layer
from cost_models.rules import CostModel
from search.monitor.events import LayerRow, Totals
from spaces.describe import FLOAT_BITS
from spaces.space import Space


def cost_by_layer(model: CostModel, network: Network) -> list[tuple[str, float]]:
    """Every layer's part of a cost: the RAM that is live while it runs, or any other cost of that layer alone."""
    if isinstance(model, PeakRam):
        return [(name, value.item()) for name, value in ram_by_layer(network)]
    return [(layer.name, _alone(model, network, layer)) for layer in network.layers]


def _alone(model: CostModel, network: Network, layer: LayerUse) -> float:
    """The cost of a network of that layer alone, as often as it runs. Its first input stands for all of its inputs."""
    only = dataclasses.replace(layer, inputs=layer.inputs[:1] * len(layer.inputs), loop="", carries="")
    alone = Network((only,), network.tensors, layer.inputs[:1], (layer.output,), network.branches)
    return model(alone).item()


def operator_text(layer: LayerUse) -> str:
    """ "conv 3x3 a4": the kernel of a convolution, and the bits of the output where they are not 8."""
    name = "depthwise" if layer.runs_depthwise else layer.op
    kernel = " " + "x".join(map(str, layer.kernel)) if layer.operator.weighted and layer.kernel else ""
    (bits,) = layer.out_bits
    return f"{name}{kernel}" + (f" a{bits}" if bits not in (8, FLOAT_BITS) else "")


def rows(seed: Space, decided: Space) -> tuple[list[LayerRow], Totals]:
    """A row for each layer of the decided network, and the network as a whole."""
    network = decided.describe()
    flash, macs = (dict(cost_by_layer(model, network)) for model in (Flash(), Macs()))
    ram = {name: value.item() for name, value in ram_by_layer(network)}
    bits = bit_counts(decided)
    table = [
        LayerRow(
            name=layer.name,
            op=operator_text(layer),
            kept=int(layer.out_channels),
            channels=len(seed.spec.slots[layer.output]),
            bits={b: n for b, n in bits.get(layer.name, {}).items() if b and n},
            flash_bytes=int(flash[layer.name]),
            macs=int(macs[layer.name]),
            ram_bytes=int(ram[layer.name]),
        )
        for layer in network.layers
    ]
    totals = Totals(int(Flash()(network)), int(Macs()(network)), int(PeakRam()(network)), peak_layer(network))
    return table, totals


@torch.no_grad()
def bit_counts(space: Space) -> dict[str, dict[int, int]]:
    """Layer -> {bits: output channels} as the decisions stand. Pruned channels have 0 bits."""
    with space.running(training=False):  # as the decisions stand: nothing is sampled, no random number drawn
        network = space.describe()
    counts: dict[str, dict[int, int]] = {}
    for layer in network.layers:
        if not layer.weight_bits or layer.weight_bits == (32,):
            continue
        counts[layer.name] = {b: int(n) for b, n in zip(layer.weight_bits, layer.out_per_width.tolist(), strict=True)}
        counts[layer.name][0] = len(space.spec.slots[layer.output]) - int(layer.out_channels)
    return counts
