"""What decisions and quantizers add to a training step: time and peak memory over the same network in plain float.

    OMP_NUM_THREADS=2 python -m benchmarks.step_time

One JSON object a line. A step is forward, loss, backward and optimizer; both networks have the same fused AdamW. Where
decisions are open the step has their optimizer and the costs of flash and peak RAM in the loss, as a search has them;
the cost models run every `REFRESH` steps, so a round is that many. The two networks take turns, step by step; the ratio
is that of the medians over the rounds. Memory: see `timing.peak_bytes`, the largest step of a round.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.timing import in_turns, peak_bytes
from cost_models import COST_MODELS
from search.objective import REFRESH, Objective
from search.optimizer import SharedAdam
from spaces.networks import NETWORKS
from spaces.searchable import Options, searchable
from spaces.space import FAKE, Space

THREADS = 2
ROUNDS = 15
SHAPES = {"resnet8": (32, 3, 32, 32), "ds_cnn": (32, 1, 49, 10), "mobilenet_v1": (8, 3, 96, 96)}
MODES = {
    "masks": Options(weight_bits=(0,), activation_bits=None),
    "qat_w8a8": Options(weight_bits=(8,)),
    "channel_bits": Options(weight_bits=(0, 2, 4, 8)),
}


@dataclass
class Trainer:
    """A network in training on one batch, with what its step needs."""

    network: nn.Module
    images: Tensor
    labels: Tensor
    optimizers: list[torch.optim.Optimizer]
    objective: Objective | None = None
    state: list[Tensor] = field(default_factory=list)

    def clear(self) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad()

    def step(self) -> None:
        self.clear()
        loss = F.cross_entropy(self.network(self.images), self.labels)
        roots, gradients = [], []
        if self.objective is not None:
            roots, gradients = self.objective.gradients(self.network, loss.item(), progress=0.5)
        torch.autograd.backward([loss, *roots], [None, *gradients])
        if self.objective is not None:
            self.objective.curvature.observe(len(self.labels))
        for optimizer in self.optimizers:
            optimizer.step()
        for decision in self.network.decisions.values() if self.objective is not None else ():
            decision.project()

    def lasting(self) -> list[Tensor]:
        """Tensors that live from step to step, gradients aside."""
        states = [v for o in self.optimizers for s in o.state.values() for v in s.values() if isinstance(v, Tensor)]
        return [*self.network.parameters(), *self.network.buffers(), *states, self.images, self.labels]

    def peak(self) -> int:
        peaks = []
        for _ in range(REFRESH):
            self.clear()
            peaks.append(peak_bytes(self.step, self.lasting()))
        return max(peaks)


def plain(network: nn.Module, images: Tensor, labels: Tensor) -> Trainer:
    return Trainer(network.train(), images, labels, [torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)])


def ours(network: nn.Module, images: Tensor, labels: Tensor, options: Options) -> Trainer:
    space = searchable(network, images, options)
    space.train()
    if options.widths:
        space.calibrate([images])
    space.set_mode(FAKE)
    optimizers: list[torch.optim.Optimizer] = [torch.optim.AdamW(space.network_parameters(), lr=1e-4, fused=True)]
    if not space.decisions:
        return Trainer(space, images, labels, optimizers)
    optimizers.append(SharedAdam([{"params": space.decision_parameters()}], lr=1e-4))
    return Trainer(space, images, labels, optimizers, _objective(space))


def _objective(space: Space) -> Objective:
    models = {name: COST_MODELS[name] for name in ("flash_bytes", "peak_ram_bytes")}
    described = space.describe()
    seed_costs = {name: model(described).item() for name, model in models.items()}
    return Objective(models, seed_costs, {}, dict.fromkeys(models, 0.1))


def compare(name: str, mode: str) -> dict:
    torch.manual_seed(0)
    images = torch.randn(SHAPES[name])
    labels = torch.randint(0, 10, (len(images),))
    make: Callable[[], nn.Module] = lambda: NETWORKS[name](in_channels=images.shape[1])  # noqa: E731
    base, other = plain(make(), images, labels), ours(make(), images, labels, MODES[mode])
    before, after = in_turns(base.step, other.step, ROUNDS, REFRESH)
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
    for name in SHAPES:
        for mode in MODES:
            print(json.dumps(compare(name, mode)), flush=True)


if __name__ == "__main__":
    main()
