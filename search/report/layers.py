"""A found network, layer by layer: its channels, bits and costs, of the exported model or of the picks alone."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from cost_models import COST_MODELS
from cost_models.layer import LayerUse, Network, UnsupportedLayer
from cost_models.peak_ram import peak_layer
from search.budgets.layer_costs import bit_counts, cost_by_layer, operator_text
from search.integer.traits import Channels
from search.monitor.events import EpochEnd
from spaces.architecture import Picks
from spaces.space import Space

COSTS = ("flash_bytes", "macs", "energy_pj", "peak_ram_bytes")


@dataclass(frozen=True)
class Layer:
    """One operator.

    Attributes:
        kept: output channels that are left.
        channels: output channels in the seed network; None: they are not known.
        bits: {weight bits: output channels}.
        costs: name of COSTS -> the layer's part of the cost. For RAM it is the bytes that are alive while the layer
            runs. It is empty where only the picks are known.
        peak: whether the peak of RAM is here.
    """

    name: str
    op: str
    kept: int
    channels: int | None
    bits: Mapping[int, int]
    costs: Mapping[str, float]
    peak: bool = False


def layers_of_model(path: Path, picks: Picks, ends: Sequence[EpochEnd]) -> tuple[list[Layer], list[str]]:
    """Layers in execution order, and the costs that cannot be told.

    Raises:
        UsageError: the file is missing, damaged or of another version.
    """
    space = Space.load(path).eval()
    with torch.no_grad():
        network = space.describe()
        costs, faults = _costs(network, path)
        bits = bit_counts(space)
        peak = peak_layer(network)
    channels = _seed_channels(network, picks, ends)
    found = [
        Layer(
            name=layer.name,
            op=operator_text(layer),
            kept=int(layer.out_channels),
            channels=channels[layer.output],
            bits={width: count for width, count in bits.get(layer.name, {}).items() if width and count},
            costs={name: each[layer.name] for name, each in costs.items()},
            peak=layer.name == peak,
        )
        for layer in network.layers
    ]
    return found, faults


def _costs(network: Network, path: Path) -> tuple[dict[str, dict[str, float]], list[str]]:
    found, faults = {}, []
    for name in COSTS:
        try:
            found[name] = dict(cost_by_layer(COST_MODELS[name], network))
        except UnsupportedLayer as error:
            faults.append(f"{path}: {name} by layer is left out: {error}")
    return found, faults


def _seed_channels(network: Network, picks: Picks, ends: Sequence[EpochEnd]) -> dict[str, int | None]:
    """Tensor -> its channels in the seed network, by the first epoch or by the picks; None: they are not known."""
    first = ends[0] if ends and not ends[0].phase.startswith("finetune") else None
    counted = {name: sum(counts.values()) for name, counts in first.bits.items()} if first else {}
    found: dict[str, int | None] = dict.fromkeys(network.inputs)
    for layer in network.layers:
        found[layer.output] = counted.get(layer.name) or _picked(layer, picks) or _passed_on(layer, found)
    return found


def _picked(layer: LayerUse, picks: Picks) -> int | None:
    gate, bits = picks.get(f"{layer.name}/channels", ()), picks.get(f"{layer.weights or layer.name}/bits", ())
    return len(gate) or (len(bits) if len(bits) > 1 else None)


def _passed_on(layer: LayerUse, found: Mapping[str, int | None]) -> int | None:
    """What a layer without weights of its own takes over from its inputs."""
    given = [found.get(name) for name in layer.inputs]
    channels = layer.operator.channels
    if None in given or channels not in (Channels.SAME, Channels.STACKED, Channels.PICKED):
        return None
    return sum(n for n in given if n) if channels is Channels.STACKED else given[0]


def layers_of_picks(picks: Picks) -> list[Layer]:
    """The layers of an architecture that was measured and not exported, as far as its decisions tell.

    A layer that shares the gate of another layer is listed with all of its channels, because picks do not say which
    layers share a gate.
    """
    names = dict.fromkeys(name.rpartition("/")[0] for name in sorted(picks) if name.endswith(("/bits", "/channels")))
    found = []
    for name in names:
        gate, bits = picks.get(f"{name}/channels", ()), picks.get(f"{name}/bits", ())
        each = bits if len(bits) > 1 else bits * max(1, len(gate))
        copies = gate if len(gate) == len(each) else (1,) * len(each)
        counts: Counter[int] = Counter()
        for width, times in zip(each, copies, strict=True):
            counts[width] += times
        channels = len(gate) or len(each)
        found.append(Layer(name, "", sum(gate) if gate else channels, channels, dict(+counts), {}))
    return found
