"""Stages of random networks that cut, move, stack, pad and resize. Each takes and gives (N, C, *spatial)."""

import random
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.laws.random_layers import CONV, Apply, Shape, activation, conv, divisor, norm
from tests.laws.random_stages import AVG_POOL

CONV_TRANSPOSE = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
ADAPTIVE_POOL_CALL = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}
LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}
LARGE = 80  # places of a map that grows no more


class Gated(nn.Module):
    """Some channels of a convolution, times a function of the others."""

    def __init__(self, rng: random.Random, shape: Shape) -> None:
        super().__init__()
        self.half = rng.choice((2, 3))
        self.conv = conv(rng, shape, 2 * self.half)
        self.cut = rng.choice((self._chunks, self._slices, self._split, self._unbound, self._turned))
        self.gate = rng.choice((torch.sigmoid, F.hardsigmoid, torch.tanh, lambda x: x))
        self.at_once = rng.random() < 0.2

    def _chunks(self, x: Tensor) -> tuple[Tensor, ...]:
        return x.chunk(2, 1)

    def _slices(self, x: Tensor) -> tuple[Tensor, ...]:
        return x[:, : self.half], x[:, self.half :]

    def _split(self, x: Tensor) -> tuple[Tensor, ...]:
        first, second = torch.split(x, [self.half, self.half], dim=1)
        return second, first

    def _unbound(self, x: Tensor) -> tuple[Tensor, ...]:
        return x.unflatten(1, (2, self.half)).unbind(1)

    def _turned(self, x: Tensor) -> tuple[Tensor, ...]:
        """Every other channel."""
        return x[:, ::2], x[:, 1::2]

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        if self.at_once:
            return F.glu(y, 1)
        a, b = self.cut(y)
        return a * self.gate(b)


def shuffled(x: Tensor, groups: int) -> Tensor:
    """As networks write it."""
    parts = x.view(x.shape[0], groups, x.shape[1] // groups, *x.shape[2:])
    return parts.transpose(1, 2).contiguous().view(x.shape)


class ShuffleUnit(nn.Module):
    """Half of the channels go through a branch. All are shuffled behind it."""

    def __init__(self, rng: random.Random, shape: Shape) -> None:
        super().__init__()
        channels = rng.choice((4, 6))
        self.stem = conv(rng, shape, channels, same_size=True)
        self.branch = conv(rng, (channels // 2, *shape[1:]), channels // 2, same_size=True)
        self.shuffle, self.groups = rng.choice((shuffled, F.channel_shuffle)), rng.choice((2, channels // 2))

    def forward(self, x: Tensor) -> Tensor:
        kept, worked = self.stem(x).chunk(2, dim=1)
        return self.shuffle(torch.cat((kept, self.branch(worked)), 1), self.groups)


class GroupsShuffled(nn.Module):
    """Two grouped convolutions, with a shuffle between them."""

    def __init__(self, rng: random.Random, shape: Shape) -> None:
        super().__init__()
        dims, groups = len(shape) - 1, divisor(rng, shape[0], shape[0])
        channels = groups * rng.choice((1, 2, 3))
        self.groups, self.activation = groups, activation(rng)
        self.first = nn.Sequential(CONV[dims](shape[0], channels, 1, groups=groups), *norm(rng, channels, dims))
        self.second = CONV[dims](channels, shape[0], 3, padding=1, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(shuffled(self.activation(self.first(x)), self.groups))


def pixel_shuffle(rng: random.Random, shape: Shape) -> nn.Module:
    """Channels to places, or back. Two dimensions."""
    if all(n % 2 == 0 for n in shape[1:]) and rng.random() < 0.5:
        return nn.Sequential(nn.PixelUnshuffle(2), conv(rng, (4 * shape[0], *(n // 2 for n in shape[1:]))))
    smaller = nn.MaxPool2d(2) if prod(shape[1:]) > LARGE // 4 and min(shape[1:]) > 1 else nn.Identity()
    size = [n // 2 if isinstance(smaller, nn.MaxPool2d) else n for n in shape[1:]]
    return nn.Sequential(
        smaller, conv(rng, (shape[0], *size), 4 * rng.choice((1, 2)), same_size=True), nn.PixelShuffle(2)
    )


def slices(rng: random.Random, shape: Shape) -> nn.Module:
    """Parts, orders and copies of channels and places."""
    channels, *size = shape
    kept = sorted(rng.sample(range(channels), rng.randint(1, channels)))
    choices = [
        Apply(lambda x: x[..., ::2]),
        Apply(lambda x: x[:, ::2]),
        Apply(lambda x: x.flip(-1)),
        Apply(lambda x: torch.flip(x, (1, 2))),
        Apply(lambda x: torch.roll(x, 1, 2)),
        Apply(lambda x: x.roll((1, -1), (1, -1))),
        Apply(lambda x: x[:, kept]),
        Apply(lambda x: torch.index_select(x, 1, torch.tensor(kept[::-1]))),
        Apply(lambda x: x.narrow(2, 0, max(1, size[0] - 1))),
        Apply(lambda x: torch.repeat_interleave(x, 2, 1)),
        Apply(lambda x: x.repeat(1, 2, *(1,) * len(size))),
        Apply(lambda x: F.relu(x[..., -1:])),
    ]
    if size[-1] > 2:
        choices.append(Apply(lambda x: x[..., 1:-1]))
    if size[0] > 1:
        choices.append(Apply(lambda x: x[:, :, : size[0] - 1] + 1.0))
    if size[-1] % 2 == 0:  # places to channels
        choices += [Apply(lambda x: torch.cat((x[..., ::2], x[..., 1::2]), 1))] * 2
        choices.append(Apply(lambda x: x.unflatten(-1, (-1, 2)).mean(-1)))
        choices.append(Apply(lambda x: x.chunk(2, -1)[0] - x.chunk(2, -1)[1]))
    return rng.choice(choices)


class Stacked(nn.Module):
    """Two branches under a new dimension, which is then reduced."""

    REDUCED = (
        lambda x, dim: x.sum(dim),
        lambda x, dim: x.mean(dim),
        lambda x, dim: x.amax(dim),
        lambda x, dim: x.max(dim)[0],
        lambda x, dim: torch.max(x, dim, keepdim=True).values.squeeze(dim),
        lambda x, dim: -x.amin(dim),
        lambda x, dim: x.select(dim, 0) * torch.sigmoid(x.select(dim, 1)),
    )

    def __init__(self, rng: random.Random, shape: Shape) -> None:
        super().__init__()
        channels = rng.choice((2, 3, 4))
        self.first, self.second = (conv(rng, shape, channels, same_size=True) for _ in range(2))
        self.dim, self.reduced = rng.choice((1, 1, 2, -1)), rng.choice(self.REDUCED)

    def forward(self, x: Tensor) -> Tensor:
        return self.reduced(torch.stack((self.first(x), self.second(x)), self.dim), self.dim)


class Compared(nn.Module):
    """The larger of two, or the smaller."""

    def __init__(self, rng: random.Random, shape: Shape) -> None:
        super().__init__()
        self.branch = conv(rng, shape, shape[0], same_size=True)
        self.compared = rng.choice((torch.maximum, torch.minimum, torch.max))

    def forward(self, x: Tensor) -> Tensor:
        return self.compared(x, self.branch(x))


def resized(rng: random.Random, shape: Shape) -> nn.Module:
    """To any size, and often back by windows of different sizes."""
    dims, size = len(shape) - 1, shape[1:]
    grows = prod(size) <= LARGE
    target = [rng.randint(max(1, n - 3), n + 2 if grows else n) for n in size]
    modes = ["nearest", "nearest-exact", LINEAR[dims], LINEAR[dims]] + ["bicubic"] * (dims == 2)
    mode, corners = rng.choice(modes), rng.random() < 0.5
    if mode.startswith("nearest"):
        first = Apply(lambda x: F.interpolate(x, target, mode=mode))
    elif rng.random() < 0.5:
        first = Apply(lambda x: F.interpolate(x, size=target, mode=mode, align_corners=corners))
    else:
        first = nn.Upsample(scale_factor=1.5 if grows else 0.75, mode=mode, align_corners=corners)
    if min(int(n * 0.75) for n in size) < 1:
        first = Apply(lambda x: F.interpolate(x, size=target, mode=mode))
    back = Apply(lambda x: ADAPTIVE_POOL_CALL[dims](x, [max(1, n - 1) for n in size]))
    return nn.Sequential(first, rng.choice((nn.Identity(), activation(rng), back)))


def upsample(rng: random.Random, shape: Shape) -> nn.Module:
    """Nearest neighbour by whole factors; where maps are large by 1, which is nothing."""
    size = shape[1:]
    factor = [rng.choice((1, 2, 3)) if prod(size) <= LARGE // 4 else 1 for _ in size]
    grown = tuple(n * times for n, times in zip(size, factor, strict=True))
    if rng.random() < 0.5:
        return nn.Upsample(grown)
    return Apply(lambda x: F.interpolate(x, scale_factor=tuple(map(float, factor))))


class Pyramid(nn.Module):
    """A map, and what a smaller map of it says, brought back to its size."""

    def __init__(self, rng: random.Random, shape: Shape) -> None:
        super().__init__()
        self.size = shape[1:]
        self.small = [max(1, n // rng.choice((2, 3))) for n in self.size]
        self.branch = conv(rng, (shape[0], *self.small), shape[0], same_size=True)
        self.mode = rng.choice(("nearest", LINEAR[len(self.size)]))

    def forward(self, x: Tensor) -> Tensor:
        small = self.branch(ADAPTIVE_POOL_CALL[len(self.size)](x, self.small))
        return x + F.interpolate(small, self.size, mode=self.mode)


def border_pool(rng: random.Random, shape: Shape) -> nn.Module:
    """A mean whose windows at the border have fewer elements."""
    kernel = [min(rng.choice((2, 3)), n) for n in shape[1:]]
    padding, include = [k // 2 for k in kernel], rng.random() < 0.3
    ceil = include or rng.random() < 0.5
    pool = AVG_POOL[len(kernel)](kernel, rng.choice((1, 2)), padding, ceil_mode=ceil, count_include_pad=include)
    return nn.Sequential(pool, activation(rng)) if rng.random() < 0.5 else pool


def transposed(rng: random.Random, shape: Shape) -> nn.Module:
    dims, (inputs, *size) = len(shape) - 1, shape
    outputs = rng.choice((2, 3, 4))
    kernel = [rng.choice((1, 2, 3)) for _ in size]
    stride = [rng.choice((1, 2)) if prod(size) <= LARGE // 2 else 1 for _ in size]
    dilation = [rng.choice((1, 1, 2)) for _ in size]
    padding = [min(rng.choice((0, 1)), d * (k - 1)) for k, d in zip(kernel, dilation, strict=True)]
    padding = [
        p if (n - 1) * s - 2 * p + d * (k - 1) >= 0 else 0
        for n, s, p, d, k in zip(size, stride, padding, dilation, kernel, strict=True)
    ]
    more = [rng.randrange(max(s, d)) for s, d in zip(stride, dilation, strict=True)]
    groups = divisor(rng, inputs, outputs) if rng.random() < 0.4 else 1
    if rng.random() < 0.3:
        outputs = groups = inputs  # depthwise
    layer = CONV_TRANSPOSE[dims](
        inputs, outputs, kernel, stride, padding, more, groups, bias=rng.random() < 0.5, dilation=dilation
    )
    return nn.Sequential(layer, *norm(rng, outputs, dims), activation(rng))


def padded(rng: random.Random, shape: Shape) -> nn.Module:
    """Something around a map, or beside its channels."""
    dims, size = len(shape) - 1, shape[1:]
    amounts = [rng.randint(0, min(2, n - 1)) for n in reversed(size) for _ in range(2)]
    mode = rng.choice(("reflect", "replicate", "circular", "constant"))
    channels = [0, 0] * dims + [rng.randint(0, 2), rng.randint(1, 2)]
    cut = [-1 if n > 2 else 0 for n in reversed(size) for _ in range(2)]
    largest = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}[dims]
    wrapped = CONV[dims](shape[0], 3, 3, padding=1, padding_mode=rng.choice(("reflect", "replicate", "circular")))
    choices = [
        Apply(lambda x: F.pad(x, amounts, mode)),
        nn.Sequential(Apply(lambda x: F.pad(x, amounts)), largest(1 if min(size) < 2 else 2, 1)),
        Apply(lambda x: F.pad(x, channels)),
        Apply(lambda x: F.relu(F.pad(x, cut))),
    ]
    if min(size) > 1:
        choices.append(nn.Sequential(wrapped, activation(rng)))
    return rng.choice(choices)
