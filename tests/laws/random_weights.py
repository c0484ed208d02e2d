"""Stages of random networks that weigh parts of a map, and that measure each sample. They take (N, C, *spatial)."""

import random
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.laws.random_layers import CONV, Shape, activation, conv

INSTANCE_NORM = {1: nn.InstanceNorm1d, 2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}

# What weighs


class SpatialAttention(nn.Module):
    """One map over all channels, made of their mean and their maximum (CBAM)."""

    def __init__(self, rng: random.Random, shape: Shape) -> None:
        super().__init__()
        self.map = CONV[len(shape) - 1](2, 1, 3, padding=1)
        self.largest = rng.choice((lambda x: x.amax(1, True), lambda x: torch.max(x, dim=1, keepdim=True)[0]))

    def forward(self, x: Tensor) -> Tensor:
        statistics = torch.cat((torch.mean(x, 1, keepdim=True), self.largest(x)), 1)
        return x * torch.sigmoid(self.map(statistics))


class LinearExcite(nn.Module):
    """Squeeze and excite by linear layers, with views between."""

    def __init__(self, rng: random.Random, shape: Shape) -> None:
        super().__init__()
        self.dims = tuple(range(2, len(shape) + 1))
        self.squeeze, self.excite = nn.Linear(shape[0], 2, bias=rng.random() < 0.5), nn.Linear(2, shape[0])
        self.gate, self.spread = rng.choice((nn.Sigmoid, nn.Hardsigmoid))(), rng.random() < 0.5
        self.largest = rng.random() < 0.3

    def forward(self, x: Tensor) -> Tensor:
        squeezed = x.amax(self.dims) if self.largest else x.mean(self.dims)
        gates = self.gate(self.excite(F.relu(self.squeeze(squeezed))))
        gates = gates.view(x.size(0), x.size(1), *(1,) * len(self.dims))
        return x * (gates.expand_as(x) if self.spread else gates)


class NeighbourExcite(nn.Module):
    """The weight of a channel, of the means of its neighbours (ECA)."""

    def __init__(self, rng: random.Random, shape: Shape) -> None:
        super().__init__()
        self.dims = tuple(range(2, len(shape) + 1))
        self.conv = nn.Conv1d(1, 1, 3, padding=1, bias=rng.random() < 0.5)

    def forward(self, x: Tensor) -> Tensor:
        means = x.mean(self.dims, keepdim=True).flatten(2)  # (N, C, 1)
        gates = self.conv(means.transpose(-1, -2)).transpose(-1, -2)
        return x * gates.view(*gates.shape[:2], *(1,) * len(self.dims)).sigmoid()


class CoordinateAttention(nn.Module):
    """A weight for each line and one for each column. Two dimensions."""

    def __init__(self, rng: random.Random, shape: Shape) -> None:
        super().__init__()
        self.squeeze = nn.Sequential(nn.Conv2d(shape[0], 2, 1), nn.BatchNorm2d(2), nn.Hardswish())
        self.lines, self.columns = nn.Conv2d(2, shape[0], 1), nn.Conv2d(2, shape[0], 1)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        lines, columns = x.mean(3, keepdim=True), x.mean(2, keepdim=True).permute(0, 1, 3, 2)
        lines, columns = self.squeeze(torch.cat((lines, columns), 2)).split([height, width], 2)
        return x * self.lines(lines).sigmoid() * self.columns(columns.permute(0, 1, 3, 2)).sigmoid()


class SelectiveKernel(nn.Module):
    """A mean of two branches, whose weights for each channel sum to 1."""

    def __init__(self, rng: random.Random, shape: Shape) -> None:
        super().__init__()
        self.channels, self.dims = rng.choice((2, 4)), tuple(range(2, len(shape) + 1))
        self.branches = nn.ModuleList(conv(rng, shape, self.channels, same_size=True) for _ in range(2))
        self.squeeze, self.excite = nn.Linear(self.channels, 3), nn.Linear(3, 2 * self.channels)

    def forward(self, x: Tensor) -> Tensor:
        maps = torch.stack([branch(x) for branch in self.branches], 1)  # (N, 2, C, *spatial)
        shares = self.excite(self.squeeze(maps.sum(1).mean(self.dims)).relu())
        shares = shares.view(-1, 2, self.channels).softmax(1)
        return (maps * shares.view(*shares.shape, *(1,) * len(self.dims))).sum(1)


class Shares(nn.Module):
    """A map times shares of 1, over channels or over places; or the mean of places that these weigh."""

    def __init__(self, rng: random.Random, shape: Shape) -> None:
        super().__init__()
        self.scores, self.of = conv(rng, shape, shape[0], same_size=True), CONV[len(shape) - 1](shape[0], 1, 1)
        self.kind = rng.choice((self._of_channels, self._of_places, self._context))

    def _of_channels(self, x: Tensor) -> Tensor:
        return x * self.scores(x).softmax(1)

    def _of_places(self, x: Tensor) -> Tensor:
        return x * F.softmax(self.scores(x).flatten(2), dim=-1).view_as(x)

    def _context(self, x: Tensor) -> Tensor:
        shares = torch.softmax(self.of(x).flatten(1), 1).unsqueeze(-1)  # (N, places, 1)
        mean = torch.bmm(x.flatten(2), shares)  # (N, C, 1)
        return x + mean.view(*mean.shape[:2], *(1,) * (x.dim() - 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.kind(x)


class Divided(nn.Module):
    """A tensor over another one, which is positive."""

    def __init__(self, rng: random.Random, shape: Shape) -> None:
        super().__init__()
        channels = rng.choice((2, 3))
        self.above, self.below = (conv(rng, shape, channels, same_size=True) for _ in range(2))
        self.positive = rng.choice((self._one_more, self._exponential, self._pooled))

    def _one_more(self, x: Tensor) -> Tensor:
        return 1 + x.abs()

    def _exponential(self, x: Tensor) -> Tensor:
        return torch.exp(x.clamp(-1, 1))

    def _pooled(self, x: Tensor) -> Tensor:
        """A pool stands between what makes it positive and the quotient."""
        return (1 + x.abs()).amax(tuple(range(2, x.dim())), keepdim=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.above(x) / self.positive(self.below(x))


class Powers(nn.Module):
    """Functions that are steep somewhere, one of a part that another branch reads as well."""

    FUNCTIONS = (
        lambda x: torch.sqrt(x.abs() + 0.01),
        lambda x: torch.exp(x.clamp(-2, 1)),
        lambda x: 1 / (x.abs() + 0.5),
        lambda x: torch.rsqrt(x.square() + 0.1),
        lambda x: torch.log(x.abs() + 0.1),
        lambda x: x.pow(3),
    )

    def __init__(self, rng: random.Random, shape: Shape) -> None:
        super().__init__()
        self.conv, self.function = conv(rng, shape, shape[0], same_size=True), rng.choice(self.FUNCTIONS)
        self.joined = rng.random() < 0.5

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return x + self.function(y) if self.joined else self.function(y)


# What measures each sample


class TokenNorm(nn.Module):
    """A norm over the channels of each place."""

    def __init__(self, rng: random.Random, shape: Shape) -> None:
        super().__init__()
        self.norm = rng.choice((nn.LayerNorm, nn.RMSNorm))(shape[0], eps=rng.choice((1e-5, 1e-3)))
        if rng.random() < 0.2:
            self.norm = nn.LayerNorm(shape[0], elementwise_affine=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.movedim(1, -1)).movedim(-1, 1)


def sample_norm(rng: random.Random, shape: Shape) -> nn.Module:
    dims, (channels, *size) = len(shape) - 1, shape
    groups = rng.choice([g for g in range(1, channels + 1) if channels % g == 0])
    choices = [nn.GroupNorm(1, channels), TokenNorm(rng, shape), TokenNorm(rng, shape)]
    choices.append(nn.GroupNorm(groups, channels, affine=rng.random() < 0.8))
    if prod(size) > 1:
        choices.append(INSTANCE_NORM[dims](channels, affine=rng.random() < 0.5))
    if prod(shape) < 300:
        choices.append(nn.LayerNorm(list(shape)))
    norm = rng.choice(choices)
    return nn.Sequential(norm, activation(rng)) if rng.random() < 0.6 else norm


class Moments(nn.Module):
    """Each channel, or each place, without its mean and over its deviation, both of them written by hand."""

    def __init__(self, rng: random.Random, shape: Shape) -> None:
        super().__init__()
        places, channels = tuple(range(2, len(shape) + 1)), (1,)
        self.dims = channels if prod(shape[1:]) == 1 or (rng.random() < 0.4 and shape[0] > 1) else places
        self.deviation = rng.choice(
            (
                lambda x, dims: x.std(dims, keepdim=True) + 0.5,
                lambda x, dims: (x.var(dims, keepdim=True, unbiased=False) + 0.2).sqrt(),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        return (x - x.mean(self.dims, keepdim=True)) / self.deviation(x, self.dims)
