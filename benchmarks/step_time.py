"""What decisions and quantizers add to a training step: time and peak memory over the same network in plain float.

    OMP_NUM_THREADS=2 python -m benchmarks.step_time [--plain-format contiguous|channels_last] [network ...]

One JSON object a line. Ours is the step of search.training.loop, with the optimizers of a search: where decisions are
open, the costs of flash and peak RAM are in the loss. The plain network is the user's own module in the usual loop,
with the same SGD, in the format of memory in which it is faster ("plain_format"). A round is `ROUND` steps, after which
the work of a search repeats; the two networks take turns, step by step, and the ratio is that of the medians over the
rounds. Memory: `timing.peak_bytes` of the largest step of a round.
"""

import argparse
import copy
import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.timing import in_turns, peak_bytes
from cost_models import COST_MODELS
from search.monitor.events import Monitors
from search.objective.objective import REFRESH, Objective
from search.tasks.classification import Classification
from search.training.ledger import Ledger
from search.training.loop import PhaseRun
from search.training.phase import TURN, Learning, Phase, Schedule
from search.training.runtime import Runtime
from spaces.networks import NETWORKS
from spaces.one_of import OneOf
from spaces.searchable import Options, searchable
from spaces.space import Space

THREADS = 2
ROUNDS = 15
ROUND = TURN * REFRESH  # steps after which the work of a search repeats
RATE = 1e-3
CPU = torch.device("cpu")
DEFAULT = "contiguous"
FORMATS = {DEFAULT: torch.contiguous_format, "channels_last": torch.channels_last}
CHOOSING = 5  # rounds of each format, of which the faster one is taken
COSTS = ("flash_bytes", "peak_ram_bytes")
SHAPES = {"resnet8": (32, 3, 32, 32), "ds_cnn": (32, 1, 49, 10), "mobilenet_v1": (8, 3, 96, 96)}
BRANCHES = 4
BLOCKS = {"resnet8": ("stages", 0, 1), "ds_cnn": ("features", 4, 6), "mobilenet_v1": ("blocks", 0, 1)}  # start, length
MODES = {
    "masks": Options(weight_bits=(0,), activation_bits=None),
    "qat_w8a8": Options(weight_bits=(8,)),
    "channel_bits": Options(weight_bits=(0, 2, 4, 8)),
    "activation_bits": Options(weight_bits=(0, 2, 4, 8), activation_bits=(2, 4, 8)),
    "supernet": Options(weight_bits=(8,)),
}


class Trainer:
    """A network in training on one batch. Subclasses say what a step is.

    Args:
        network: images (N, ...) -> logits.
    """

    optimizers: list[torch.optim.Optimizer]

    def __init__(self, network: nn.Module, images: Tensor, labels: Tensor) -> None:
        self.network, self.images, self.targets = network.train(), images, labels

    def step(self) -> None:
        raise NotImplementedError

    def peak(self) -> int:
        """Bytes, of the largest step of a round."""
        peaks = []
        for _ in range(ROUND):
            for optimizer in self.optimizers:
                optimizer.zero_grad()
            peaks.append(peak_bytes(self.step, self._lasting()))
        return max(peaks)

    def _lasting(self) -> list[Tensor]:
        """Tensors that live from step to step, gradients aside."""
        states = [v for o in self.optimizers for s in o.state.values() for v in s.values() if isinstance(v, Tensor)]
        return [*self.network.parameters(), *self.network.buffers(), *states, self.images, self.targets]


class Plain(Trainer):
    """The loop that everybody writes."""

    def __init__(self, network: nn.Module, images: Tensor, labels: Tensor) -> None:
        super().__init__(network, images, labels)
        self.optimizers = [torch.optim.SGD(network.parameters(), lr=RATE, momentum=0.9, nesterov=True, fused=True)]

    def step(self) -> None:
        (optimizer,) = self.optimizers
        optimizer.zero_grad()
        F.cross_entropy(self.network(self.images), self.targets).backward()
        optimizer.step()


class Ours(Trainer):
    """A step of a search; of fine-tuning, where there is nothing to decide.

    Args:
        graphs: as `train.graphs`.
    """

    def __init__(self, space: Space, images: Tensor, labels: Tensor, graphs: bool = False) -> None:
        super().__init__(space, images, labels)
        learning = Learning(decision_lr=RATE, objective=_objective(space)) if space.decisions else Learning()
        phase = Phase("search", Schedule(1, RATE), learning=learning)
        batches = [(images, labels)]
        runtime = Runtime(
            device=images.device,
            folder=Path(),
            monitor=Monitors([]),
            ledger=Ledger(),
            train=batches,
            val=batches,
            whole=batches,
            task=Classification([str(number) for number in range(10)]),
            graphs=graphs,
        )
        run = PhaseRun(space, phase, runtime)
        run.prepare_epoch()
        self.steps, self.optimizers = run.steps, run.steps.optimizers

    def step(self) -> None:
        self.steps.step(self.images, self.targets, progress=0.5)


def _objective(space: Space) -> Objective:
    described = space.describe()
    models = {name: COST_MODELS[name] for name in COSTS}
    seed_costs = {name: model(described).item() for name, model in models.items()}
    return Objective(models, seed_costs, {}, dict.fromkeys(COSTS, 0.1))


def plain(name: str, batch: int | None = None, device: torch.device = CPU, memory_format: str = DEFAULT) -> Plain:
    """A network of SHAPES in float.

    Args:
        batch: None: that of SHAPES.
        memory_format: a key of FORMATS.
    """
    images, labels = _batch(name, batch, device)
    network = NETWORKS[name](in_channels=SHAPES[name][1]).to(device, memory_format=FORMATS[memory_format])
    return Plain(network, images.to(memory_format=FORMATS[memory_format]), labels)


def fastest_plain(name: str, batch: int | None = None, device: torch.device = CPU) -> tuple[str, Plain]:
    """The one of the formats that is faster, and which that is."""
    each = {key: plain(name, batch, device, key) for key in FORMATS}
    first, second = each
    times = in_turns(*(rounds_of(each[key]) for key in FORMATS), CHOOSING)
    faster = first if times[0] <= times[1] else second
    return faster, each[faster]


def rounds_of(trainer: Trainer) -> Callable[[], None]:
    """A round of steps, after which the device has done all of them."""

    def run() -> None:
        for _ in range(ROUND):
            trainer.step()
        if trainer.images.is_cuda:
            torch.cuda.synchronize()

    return run


def ours(name: str, mode: str, batch: int | None = None, device: torch.device = CPU, graphs: bool = False) -> Ours:
    """The same network with the decisions of one of MODES."""
    images, labels = _batch(name, batch, device)
    network = NETWORKS[name](in_channels=SHAPES[name][1])
    if mode == "supernet":
        _branch(network, *BLOCKS[name])
    space = searchable(network, images[: SHAPES[name][0]].cpu(), MODES[mode]).to(device)
    if space.spec.quantizers:
        space.calibrate([images])
    return Ours(space, images, labels, graphs)


def _branch(network: nn.Module, sequence: str, start: int, length: int) -> None:
    """Makes of every block of a sequence a choice among as many copies of it: of equal cost, so that time compares."""
    layers = list(getattr(network, sequence))
    made = layers[:start]
    while len(layers) - start >= length and any(isinstance(m, nn.Conv2d) for b in layers[start:] for m in b.modules()):
        block = nn.Sequential(*layers[start : start + length])
        made.append(OneOf([copy.deepcopy(block) for _ in range(BRANCHES)]))
        start += length
    setattr(network, sequence, nn.Sequential(*made, *layers[start:]))


def _batch(name: str, batch: int | None, device: torch.device) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    count = batch or SHAPES[name][0]
    return torch.randn(count, *SHAPES[name][1:]).to(device), torch.randint(0, 10, (count,)).to(device)


def compare(name: str, mode: str, plain_format: str | None = None) -> dict[str, str | float]:
    """Args: plain_format: that of the plain network; None: the faster one."""
    memory_format, base = (
        fastest_plain(name) if plain_format is None else (plain_format, plain(name, None, CPU, plain_format))
    )
    other = ours(name, mode)
    before, after = in_turns(base.step, other.step, ROUNDS, ROUND)
    return {
        "benchmark": "step_time",
        "network": name,
        "mode": mode,
        "time_ratio": round(after / before, 3),
        "memory_ratio": round(other.peak() / base.peak(), 3),
        "plain_format": memory_format,
        "plain_ms": round(before, 2),
        "ours_ms": round(after, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="network", help="all of them where none is named")
    parser.add_argument("--plain-format", choices=FORMATS, help="that of the plain network; by default the faster one")
    arguments = parser.parse_args()
    torch.set_num_threads(THREADS)
    unknown = sorted(set(arguments.networks) - SHAPES.keys())
    if unknown:
        parser.error(f"there is no network {unknown}; there are {list(SHAPES)}")
    for name in arguments.networks or SHAPES:
        for mode in MODES:
            print(json.dumps(compare(name, mode, arguments.plain_format)), flush=True)


if __name__ == "__main__":
    main()
