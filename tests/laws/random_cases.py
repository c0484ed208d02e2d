"""Random networks that are searched at random, and all that is compared of one."""

import copy
import math
import random
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import torch
from torch import Tensor, nn

from search.deploy.lower import lower
from spaces.architecture import Architecture
from spaces.decisions.decision import Decision
from spaces.decisions.gates import Gate
from spaces.patterns import Structured
from spaces.searchable import Options, searchable
from spaces.space import Space
from tests.laws.random_networks import random_network

WEIGHT_BITS = ((0, 2, 4, 8), (0, 2, 3, 4, 5, 6, 7, 8), (0, 8), (2, 8), (0, 4), (0, 1, 2, 8), (1,))
ACTIVATION_BITS = (
    *((8, None, None), (8, 16, 16), (7, 8, None), (4, 8, 8), (2, None, None), (3, 2, 9)),
    *(((2, 4, 8), None, None), ((2, 4, 8), 16, 8), ((3, 6, 8), 4, None)),
)
LARGEST = float(np.finfo(np.float32).max)


@dataclass
class Case:
    """A random network, searched at random. Odd seeds have steps that are powers of two, so that sums fall on ties."""

    seed: int

    def __post_init__(self) -> None:
        self.model, example = random_network(self.seed)
        self.examples = as_tuple(example)
        self.model.train(self.seed % 3 == 0)
        self.state = copy.deepcopy(self.model.state_dict())
        rng = random.Random(self.seed)
        self.space = searchable(self.model, self.examples, _options(rng, self.model)).eval()
        self.space.calibrate([self.examples, self.enlarged], rng.choice(("mse", "minmax", "lsq")))
        if self.seed % 2:
            _powers_of_two(self.space)
        generator = torch.Generator().manual_seed(self.seed)
        for weights in self.space.weights.values():
            if isinstance(weights.pattern, Structured):  # some of its structures are gone
                drawn = torch.randint(3, weights.pattern.v.shape, generator=generator)
                weights.pattern.v.data.copy_(torch.tensor([0.05, 0.7, 1.3])[drawn])
        self.space.set_mode("fake")
        picks = {name: drawn_pick(decision, rng) for name, decision in self.space.decisions.items()}
        self.architecture = Architecture(self.space.name, picks)
        self.space.fix(self.architecture)
        self.decided = self.space.decide()
        self.program = lower(self.decided)

    @cached_property
    def floats(self) -> Space:
        """The network as it is, with gates."""
        return searchable(self.model, self.examples, Options((0,), activation_bits=None)).eval()

    @property
    def enlarged(self) -> tuple[Tensor, ...]:
        return tuple(3 * x for x in self.examples)

    @cached_property
    def batches(self) -> tuple[Tensor, ...]:
        """Of each input plain samples, large ones, zeros, and the largest numbers that there are."""
        return tuple(
            torch.cat([x, 100 * x, torch.zeros_like(x), torch.full_like(x, LARGEST), torch.full_like(x, -LARGEST)])
            for x in self.examples
        )

    @cached_property
    def arrays(self) -> tuple[np.ndarray, ...]:
        return tuple(x.numpy() for x in self.batches)

    @cached_property
    def codes(self) -> dict[str, Tensor]:
        return self.decided.codes(*self.batches)


def as_tuple(tensors):
    """A tensor, or several, as a tuple."""
    return tensors if isinstance(tensors, tuple) else (tensors,)


@cache
def case_of(seed: int) -> Case:
    return Case(seed)


def _options(rng: random.Random, model: nn.Module) -> Options:
    granularity = rng.choice(("channel", "channel", "tensor"))
    weights, activations, kernels = rng.choice(WEIGHT_BITS), rng.choice(ACTIVATION_BITS), rng.choice(((), (1, 3)))
    causal = any(name.endswith("causal") for name, _ in model.named_modules())
    time = ("*.causal",) if causal and rng.random() < 0.7 else ()
    pattern = rng.choice(("", "", "1:2", "2:4", "columns", "channels", "blocks 2x3")) if 1 not in weights else ""
    if not any(isinstance(m, nn.Conv2d | nn.Conv3d) and max(m.kernel_size) > 1 for m in model.modules()):
        kernels = ()
    return Options(weights, granularity, *activations, kernel_sizes=kernels, time=time, pattern=pattern)


def _powers_of_two(space: Space) -> None:
    with torch.no_grad():
        for name, parameter in space.named_parameters():
            if name.endswith("log_step"):
                parameter.copy_((parameter / math.log(2)).round() * math.log(2))


def drawn_pick(decision: Decision, rng: random.Random) -> tuple[int, ...]:
    if not isinstance(decision, Gate):
        return tuple(rng.choice(decision.options) for _ in range(decision.groups))
    keep = [int(rng.random() < 0.6) for _ in range(decision.groups)]
    keep[rng.randrange(len(keep))] = 1
    return tuple(keep)
