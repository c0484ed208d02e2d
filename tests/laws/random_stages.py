"""Stages of random networks that convolve, join and pool. Each takes and gives (N, C, *spatial)."""

import random

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spaces.one_of import OneOf
from tests.laws.random_layers import CONV, CONV_CALL, NORM, Apply, Shape, activation, conv, norm

DROPOUT = {1: nn.Dropout1d, 2: nn.Dropout2d, 3: nn.Dropout3d}
MAX_POOL = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
AVG_POOL = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}
MAX_POOL_CALL = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
AVG_POOL_CALL = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
GLOBAL_POOL = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}


def depthwise(rng: random.Random, shape: Shape) -> nn.Module:
    dims, outputs = len(shape) - 1, shape[0] * rng.choice((1, 1, 2))
    layer = CONV[dims](shape[0], outputs, 3, rng.choice((1, 2)), 1, groups=shape[0], bias=rng.random() < 0.5)
    return nn.Sequential(layer, *norm(rng, outputs, dims), activation(rng), conv(rng, (outputs, *(1,) * dims)))


class Causal(nn.Module):
    """A convolution in time that sees the past alone; its receptive field and dilation may be searched."""

    def __init__(self, rng: random.Random, shape: Shape) -> None:
        super().__init__()
        channels, taps = shape[0], rng.choice((2, 3, 4, 5, 7, 9))
        groups = rng.choice((1, 1, channels))
        self.causal = nn.Conv1d(channels, channels, taps, groups=groups, bias=rng.random() < 0.5)
        self.pad = nn.ConstantPad1d((taps - 1, 0), 0.0) if rng.random() < 0.5 else Apply(self._padded)
        self.taps, self.activation = taps, activation(rng)

    def _padded(self, x: Tensor) -> Tensor:
        return F.pad(x, (self.taps - 1, 0))

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.causal(self.pad(x)))


class FunctionalConv(nn.Module):
    def __init__(self, rng: random.Random, shape: Shape) -> None:
        super().__init__()
        self.dims, outputs = len(shape) - 1, rng.choice((2, 4, 6))
        self.weight = nn.Parameter(torch.randn(outputs, shape[0], *(3,) * self.dims) / 4)
        self.bias = nn.Parameter(torch.randn(outputs)) if rng.random() < 0.5 else None

    def forward(self, x: Tensor) -> Tensor:
        return CONV_CALL[self.dims](x, self.weight, self.bias, padding=1).relu()


class Residual(nn.Module):
    ADDS = (torch.add, lambda x, y: x + y, lambda x, y: y.add(x), lambda x, y: x.add_(y))

    def __init__(self, rng: random.Random, shape: Shape) -> None:
        super().__init__()
        first = conv(rng, shape, same_size=True)
        second = conv(rng, (first[0].out_channels, *shape[1:]), shape[0], same_size=True)
        self.branch = nn.Sequential(first, second)
        self.add, self.activation = rng.choice(self.ADDS), activation(rng)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.add(self.branch(x), x))


class Dense(nn.Module):
    """The input beside what a branch makes of it."""

    def __init__(self, rng: random.Random, shape: Shape) -> None:
        super().__init__()
        self.branch, self.dropout = conv(rng, shape, same_size=True), DROPOUT[len(shape) - 1]()
        self.activation = activation(rng)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(torch.cat([self.dropout(x), self.branch(x)], dim=1))


class Ladder(nn.Module):
    """A sum with a concatenation: the channels of three layers are tied in parts."""

    def __init__(self, rng: random.Random, shape: Shape) -> None:
        super().__init__()
        self.whole = conv(rng, shape, 5, same_size=True)
        self.low, self.high = conv(rng, shape, 2, same_size=True), conv(rng, shape, 3, same_size=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.whole(x) + torch.cat((self.low(x), self.high(x)), 1)


class SqueezeExcite(nn.Module):
    def __init__(self, rng: random.Random, shape: Shape) -> None:
        super().__init__()
        dims = len(shape) - 1
        self.dims = tuple(range(2, dims + 2))
        self.squeeze, self.excite = CONV[dims](shape[0], 2, 1), CONV[dims](2, shape[0], 1)
        self.gate = rng.choice((nn.Sigmoid, nn.Hardsigmoid))()

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.squeeze(x.mean(self.dims, keepdim=True)))
        return x * self.gate(self.excite(y))


class Attention(nn.Module):
    """One map over all channels."""

    def __init__(self, rng: random.Random, shape: Shape) -> None:
        super().__init__()
        self.map = CONV[len(shape) - 1](shape[0], 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.map(x)) * x


class Twice(nn.Module):
    """One convolution called twice, with a norm that is shared or not."""

    def __init__(self, rng: random.Random, shape: Shape) -> None:
        super().__init__()
        dims, channels = len(shape) - 1, shape[0]
        self.conv = CONV[dims](channels, channels, 3, padding=1, groups=rng.choice((1, channels)))
        self.first = NORM[dims](channels)
        self.second = self.first if rng.random() < 0.5 else NORM[dims](channels)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(self.conv(x)))
        return F.dropout(self.second(self.conv(x)), 0.5, self.training)


class Scaled(nn.Module):
    """A scale and an offset for each channel, which are learned or constants."""

    def __init__(self, rng: random.Random, shape: Shape) -> None:
        super().__init__()
        places = (shape[0], *(1,) * (len(shape) - 1))
        self.scale = nn.Parameter(torch.randn(places), requires_grad=rng.random() < 0.8)
        self.register_buffer("offset", torch.randn(places))
        self.before = rng.choice((nn.Identity, nn.ReLU))()

    def forward(self, x: Tensor) -> Tensor:
        return self.before(x) * self.scale - self.offset


class Difference(nn.Module):
    """What a branch makes of the input, and the input, with factors."""

    def __init__(self, rng: random.Random, shape: Shape) -> None:
        super().__init__()
        self.branch, self.alpha = conv(rng, shape, shape[0], same_size=True), rng.choice((1, 0.5, -2))

    def forward(self, x: Tensor) -> Tensor:
        return torch.sub(self.branch(x), x, alpha=self.alpha)


class Computed(nn.Module):
    """Weights that are computed from parameters: weight norm, and standardised ones."""

    def __init__(self, rng: random.Random, shape: Shape) -> None:
        super().__init__()
        layer = CONV[len(shape) - 1](shape[0], 4, 1)
        self.layer = nn.utils.parametrizations.weight_norm(layer) if rng.random() < 0.5 else layer
        self.standardised = nn.Parameter(torch.randn(4, 4, *(1,) * (len(shape) - 1)))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.standardised - self.standardised.mean(1, keepdim=True)
        return CONV_CALL[x.dim() - 2](F.relu(self.layer(x)), weight / weight.std())


class Biases(nn.Module):
    """The same weights under two calls, with and without a bias."""

    def __init__(self, rng: random.Random, shape: Shape) -> None:
        super().__init__()
        dims, channels = len(shape) - 1, shape[0]
        self.layer = CONV[dims](channels, channels, 1, groups=rng.choice((1, channels)))
        self.activation = activation(rng)

    def forward(self, x: Tensor) -> Tensor:
        call = CONV_CALL[x.dim() - 2]
        return self.activation(call(F.relu(self.layer(x)), self.layer.weight, groups=self.layer.groups))


def pool(rng: random.Random, shape: Shape) -> nn.Module:
    dims, size = len(shape) - 1, shape[1:]
    kernel, pairs = [min(rng.choice((2, 3)), n) for n in size], tuple(min(2, n) for n in size)
    stride, ceil = rng.choice((1, 2)), rng.random() < 0.5
    halves = all(n % 2 == 0 for n in size)
    largest = MAX_POOL[dims](tuple(kernel), stride, tuple(k // 2 for k in kernel), ceil_mode=ceil)
    choices = [
        largest,
        Apply(lambda x: MAX_POOL_CALL[dims](x, pairs, stride, ceil_mode=ceil)),
        AVG_POOL[dims](tuple(kernel), stride, tuple(k // 2 for k in kernel)),
        AVG_POOL[dims](size, 1, tuple(n // 2 for n in size)),  # a window as large as the image, moved over its border
        Apply(lambda x: F.relu(AVG_POOL_CALL[dims](x, pairs, stride))),
    ]
    if min(size) >= 3:
        choices.append(MAX_POOL[dims](2, 1, 1, dilation=2, ceil_mode=ceil))
    if halves:
        choices.append(GLOBAL_POOL[dims](tuple(n // 2 for n in size)))
    if halves and dims < 3:
        choices.append((nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d)[dims - 1](tuple(n // 2 for n in size)))
    return rng.choice(choices)


def alone(rng: random.Random, shape: Shape) -> nn.Module:
    """A norm or an activation that no convolution stands before."""
    return nn.Sequential(nn.Dropout(0.1), NORM[len(shape) - 1](shape[0]) if rng.random() < 0.5 else activation(rng))


def alternatives(rng: random.Random, shape: Shape) -> nn.Module:
    """Blocks that keep the shape; nothing, and a choice of its own, may be among them."""
    dims, channels = len(shape) - 1, shape[0]
    made = [
        nn.Sequential(CONV[dims](channels, channels, 3, padding=1), NORM[dims](channels), activation(rng)),
        nn.Sequential(CONV[dims](channels, channels, 3, padding=1, groups=channels), activation(rng)),
        nn.Sequential(CONV[dims](channels, 3, 1), nn.ReLU(), CONV[dims](3, channels, 1, bias=False)),
        MAX_POOL[dims](3, 1, 1),
        nn.Identity(),
    ]
    if rng.random() < 0.3:
        made.append(OneOf([nn.Sequential(CONV[dims](channels, channels, 1), nn.ReLU()), nn.Identity()]))
    return OneOf(rng.sample(made, rng.randint(2, 3)))


def prelu(rng: random.Random, shape: Shape) -> nn.Module:
    """A slope for each channel, behind a convolution or alone."""
    if rng.random() < 0.4:
        return nn.PReLU(shape[0])
    dims, channels = len(shape) - 1, rng.choice((2, 4))
    return nn.Sequential(CONV[dims](shape[0], channels, 1), *norm(rng, channels, dims), nn.PReLU(channels))
