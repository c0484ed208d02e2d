"""Seeded random networks: every operator, every form of calling it, and the awkward numbers of trained networks."""

import random
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.laws.random_layers import ACTIVATIONS, CONV, NORM, Apply, Shape, activation, conv
from tests.laws.random_moves import (
    ADAPTIVE_POOL_CALL,
    Compared,
    Gated,
    GroupsShuffled,
    Pyramid,
    ShuffleUnit,
    Stacked,
    border_pool,
    padded,
    pixel_shuffle,
    resized,
    slices,
    transposed,
    upsample,
)
from tests.laws.random_recurrence import Recurrent
from tests.laws.random_stages import (
    GLOBAL_POOL,
    Attention,
    Biases,
    Causal,
    Computed,
    Dense,
    Difference,
    FunctionalConv,
    Ladder,
    Residual,
    Scaled,
    SqueezeExcite,
    Twice,
    alone,
    alternatives,
    depthwise,
    pool,
    prelu,
)
from tests.laws.random_tokens import (
    ChannelsAttend,
    ClassToken,
    Encoder,
    Mixed,
    Moved,
    Positions,
    SelfAttention,
    Tokens,
)
from tests.laws.random_weights import (
    CoordinateAttention,
    Divided,
    LinearExcite,
    Moments,
    NeighbourExcite,
    Powers,
    SelectiveKernel,
    Shares,
    SpatialAttention,
    sample_norm,
)

SIZES = {1: (8, 17), 2: (5, 10), 3: (3, 5)}  # of the input, each spatial dimension
STAGES = (
    *(conv, conv, depthwise, FunctionalConv, Residual, Dense, Ladder, SqueezeExcite, Attention, Twice, pool),
    *(alone, alternatives, upsample, Scaled, Difference, Computed, Biases, prelu),
    *(Gated, ShuffleUnit, GroupsShuffled, slices, Stacked, Compared, resized, Pyramid, border_pool, transposed, padded),
    *(SpatialAttention, LinearExcite, NeighbourExcite, SelectiveKernel, Shares, Divided, Powers, sample_norm, Moments),
    *(Tokens, Mixed, Moved, Positions, ClassToken, SelfAttention, SelfAttention, Encoder, ChannelsAttend, Recurrent),
)
ONLY = {
    1: (Causal, Causal, Causal, Recurrent, Recurrent),
    2: (pixel_shuffle, pixel_shuffle, CoordinateAttention),
}  # for so many dimensions


def head(rng: random.Random, shape: Shape) -> nn.Module:
    """(N, C, ...) to a few logits, or to a map of them."""
    dims, classes = len(shape) - 1, rng.randint(2, 5)
    features, linear = prod(shape), nn.Linear(shape[0], classes, bias=rng.random() < 0.7)
    spatial = tuple(range(2, dims + 2))
    logits = nn.Sequential(Apply(lambda x: x.mean(spatial)), linear)
    each = CONV[dims](shape[0], classes, 1)
    choices = [
        nn.Sequential(GLOBAL_POOL[dims](1), nn.Flatten(), nn.Dropout(), linear),
        logits,
        nn.Sequential(Apply(lambda x: torch.flatten(ADAPTIVE_POOL_CALL[dims](x, 1), 1)), linear),
        nn.Sequential(Apply(lambda x: x.contiguous().view(x.size(0), -1)), nn.Linear(features, classes)),
        nn.Sequential(
            Apply(lambda x: x.reshape(x.shape[0], -1)),
            *(nn.Linear(features, 5), nn.BatchNorm1d(5), activation(rng), nn.Linear(5, 3)),
        ),
        nn.Sequential(nn.Flatten(), nn.BatchNorm1d(features), activation(rng), nn.Linear(features, classes)),
        nn.Sequential(each, GLOBAL_POOL[dims](1), nn.Flatten(1)),
        nn.Sequential(
            Apply(lambda x: x.flatten(2).transpose(1, 2)), nn.LayerNorm(shape[0]), Apply(_mean_token), linear
        ),
        nn.Sequential(logits, nn.LogSoftmax(1)),
        nn.Sequential(logits, Apply(lambda x: x.softmax(-1))),
        each,
        nn.Sequential(each, Apply(lambda x: x.permute(0, *spatial, 1))),
        nn.Sequential(Apply(lambda x: x.movedim(1, -1)), linear),
    ]
    if prod(shape[1:]) > 1:
        moments = Apply(lambda x: torch.cat((x.mean(spatial), x.std(spatial)), 1))
        choices.append(nn.Sequential(moments, nn.Linear(2 * shape[0], classes)))
    return rng.choice(choices)


def _mean_token(x: Tensor) -> Tensor:
    return x.mean(1)


class Joined(nn.Module):
    """A map with what a second input says: of the same size or another, or numbers for the whole map."""

    def __init__(self, rng: random.Random, shape: Shape, other: Shape) -> None:
        super().__init__()
        self.join = rng.choice((torch.add, torch.mul, self._beside, self._weighed))
        self.size, self.numbers = shape[1:], len(other) == 1
        channels = shape[0]
        if self.numbers:
            self.stem = nn.Sequential(nn.Linear(other[0], channels), activation(rng))
        else:
            self.stem = conv(rng, other, channels)

    def _beside(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.cat((x, y.expand_as(x)), 1)

    def _weighed(self, x: Tensor, y: Tensor) -> Tensor:
        return x * torch.sigmoid(y)

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        y = self.stem(other)
        if self.numbers:
            y = y.view(*y.shape, *(1,) * len(self.size))
        elif tuple(y.shape[2:]) != self.size:
            y = F.interpolate(y, self.size)
        return self.join(x, y)


class RandomNetwork(nn.Module):
    """Stages in a row, of which some are read by heads of their own.

    Args:
        heads: place of a stage -> what makes an output of what it gives.
        joined: place of a stage and what brings a second input in behind it; None: there is one input.
    """

    def __init__(
        self, stages: list[nn.Module], heads: dict[int, nn.Module], joined: tuple[int, nn.Module] | None
    ) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.heads = nn.ModuleDict({f"at{place}": each for place, each in heads.items()})
        self.place, self.joined = joined or (-1, None)

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor | tuple[Tensor, ...]:
        outputs = []
        for place, stage in enumerate(self.stages):
            x = stage(x)
            if self.joined is not None and place == self.place:
                x = self.joined(x, other)
            if f"at{place}" in self.heads:
                outputs.append(self.heads[f"at{place}"](x))
        return outputs[0] if len(outputs) == 1 else tuple(outputs)


@torch.no_grad()
def awkward_numbers(model: nn.Module, rng: random.Random) -> None:
    """Norms as training leaves them: negative scales, dead channels (scale 0), variances that vanished."""
    measured = (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.modules.instancenorm._InstanceNorm, nn.PReLU)
    for module in model.modules():
        if isinstance(module, tuple(NORM.values())):
            module.weight.normal_().mul_(rng.choice((0.3, 1.0, 3.0)))
            module.bias.normal_()
            module.running_mean.normal_()
            module.running_var.log_normal_()
            kind = rng.random()
            if kind < 0.3:
                module.weight[0] = 0.0
            if 0.2 < kind < 0.4:
                module.running_var[-1] = 1e-12
                module.weight[-1] = 1e-3
        elif isinstance(module, measured) and getattr(module, "weight", None) is not None:
            module.weight.normal_()
            if getattr(module, "bias", None) is not None:
                module.bias.normal_()


def random_network(seed: int) -> tuple[nn.Module, Tensor | tuple[Tensor, ...]]:
    """A network in evaluation and an example batch of two; the same ones for the same seed.

    The example is a tensor, or a tuple of one for each input. Seeds that follow each other begin with other activations
    and other stages, so that a hundred of them meet all of both.
    """
    rng = random.Random(seed)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        dims = rng.choice((1, 2, 2, 3))
        example = _input(rng, dims)
        other = _second_input(rng, example) if rng.random() < 0.25 else None
        model = _network(rng, seed, example, other)
        awkward_numbers(model, rng)
    return model.eval(), example if other is None else (example, other)


def _network(rng: random.Random, seed: int, x: Tensor, other: Tensor | None) -> RandomNetwork:
    depth = rng.randint(1, 4)
    place, ends = rng.randrange(depth + 1), {depth}
    if rng.random() < 0.25:
        ends |= {rng.randrange(depth) for _ in range(rng.randint(1, 2))}
    on_offer = STAGES + ONLY.get(x.dim() - 2, ())
    makers = [conv, on_offer[seed % len(on_offer)], *rng.choices(on_offer, k=depth - 1)]
    stages: list[nn.Module] = []
    heads: dict[int, nn.Module] = {}
    joined = None
    for at, maker in enumerate(makers):
        stages.append(maker(rng, tuple(x.shape[1:])))
        if not at:
            stages[0][-1] = ACTIVATIONS[seed % len(ACTIVATIONS)]()
        x = stages[-1].eval()(x.clone())
        if other is not None and at == place:
            joined = Joined(rng, tuple(x.shape[1:]), tuple(other.shape[1:])).eval()
            x = joined(x, other)
        if at in ends:
            heads[at] = head(rng, tuple(x.shape[1:]))
    return RandomNetwork(stages, heads, None if joined is None else (place, joined))


def _input(rng: random.Random, dims: int) -> Tensor:
    return torch.randn(2, rng.randint(1, 3), *(rng.randint(*SIZES[dims]) for _ in range(dims)))


def _second_input(rng: random.Random, first: Tensor) -> Tensor:
    """Of the same shape, another map, or some numbers."""
    numbers = torch.randn(2, rng.randint(2, 5))
    return rng.choice((torch.randn_like(first), _input(rng, first.dim() - 2), numbers))
