"""What decisions and quantizers add to a training step: time and peak memory over the same network in plain float.

    OMP_NUM_THREADS=2 python -m benchmarks.step_time [network ...]

One JSON object a line. Ours is the step of search.training.loop, with the optimizers of a search: where decisions are
open, the costs of flash and peak RAM are in the loss. The plain network is the user's own module in the usual loop,
with the same SGD. A round is `ROUND` steps, after which the work of a search repeats; the two networks take turns, step
by step, and the ratio is that of the medians over the rounds. Memory: `timing.peak_bytes` of the largest step of
a round.
"""

import copy
import json
import sys
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
    """A step of a search; of fine-tuning, where there is nothing to decide."""

    def __init__(self, space: Space, images: Tensor, labels: Tensor) -> None:
        super().__init__(space, images, labels)
        learning = Learning(decision_lr=RATE, objective=_objective(space)) if space.decisions else Learning()
        phase = Phase("search", Schedule(1, RATE), learning=learning)
        batches = [(images, labels)]
        runtime = Runtime(
            device=torch.device("cpu"),
            folder=Path(),
            monitor=Monitors([]),
            ledger=Ledger(),
            train=batches,
            val=batches,
            whole=batches,
            task=Classification([str(number) for number in range(10)]),
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


def plain(name: str) -> Plain:
    return Plain(NETWORKS[name](in_channels=SHAPES[name][1]), *_batch(name))


def ours(name: str, mode: str) -> Ours:
    images, labels = _batch(name)
    network = NETWORKS[name](in_channels=SHAPES[name][1])
    if mode == "supernet":
        _branch(network, *BLOCKS[name])
    space = searchable(network, images, MODES[mode])
    if space.spec.quantizers:
        space.calibrate([images])
    return Ours(space, images, labels)


def _branch(network: nn.Module, sequence: str, start: int, length: int) -> None:
    """Makes of every block of a sequence a choice among as many copies of it: of equal cost, so that time compares."""
    layers = list(getattr(network, sequence))
    made = layers[:start]
    while len(layers) - start >= length and any(isinstance(m, nn.Conv2d) for b in layers[start:] for m in b.modules()):
        block = nn.Sequential(*layers[start : start + length])
        made.append(OneOf([copy.deepcopy(block) for _ in range(BRANCHES)]))
        start += length
    setattr(network, sequence, nn.Sequential(*made, *layers[start:]))


def _batch(name: str) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(SHAPES[name]), torch.randint(0, 10, SHAPES[name][:1])


def compare(name: str, mode: str) -> dict[str, str | float]:
    base, other = plain(name), ours(name, mode)
    before, after = in_turns(base.step, other.step, ROUNDS, ROUND)
    return {
        "benchmark": "step_time",
        "network": name,
        "mode": mode,
        "time_ratio": round(after / before, 3),
        "memory_ratio": round(other.peak() / base.peak(), 3),
        "plain_ms": round(before, 2),
        "ours_ms": round(after, 2),
    }


def main() -> None:
    torch.set_num_threads(THREADS)
    for name in sys.argv[1:] or SHAPES:
        for mode in MODES:
            print(json.dumps(compare(name, mode)), flush=True)


if __name__ == "__main__":
    main()
