"""The layers that stages of random networks are made of: activations, convolutions and norms, all drawn."""

import random
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
NORM = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
CONV_CALL = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}

Shape = tuple[int, ...]  # (C, *spatial)


class Apply(nn.Module):
    """A function as a module; tracing goes into it."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


ACTIVATIONS: list[Callable[[], nn.Module]] = [
    nn.ReLU,
    partial(nn.ReLU, inplace=True),
    nn.ReLU6,
    nn.Hardtanh,
    partial(nn.Hardtanh, -2.0, 1.5),
    nn.Hardswish,
    nn.Hardsigmoid,
    nn.Sigmoid,
    nn.Tanh,
    nn.SiLU,
    nn.GELU,
    partial(nn.GELU, "tanh"),
    nn.Mish,
    nn.ELU,
    nn.SELU,
    nn.CELU,
    nn.Softplus,
    nn.Softsign,
    nn.LogSigmoid,
    nn.Hardshrink,
    partial(nn.Softshrink, 0.3),
    partial(nn.Threshold, 0.1, -0.5),
    partial(nn.LeakyReLU, 0.1),
    partial(nn.PReLU, init=0.3),
    nn.Identity,
    partial(Apply, F.relu),
    partial(Apply, torch.relu),
    partial(Apply, lambda x: x.relu()),
    partial(Apply, F.relu6),
    partial(Apply, F.hardswish),
    partial(Apply, lambda x: F.leaky_relu(x, 0.2)),
    partial(Apply, lambda x: F.gelu(x, approximate="tanh")),
    partial(Apply, lambda x: x.sigmoid()),
    partial(Apply, torch.tanh),
    partial(Apply, lambda x: x * F.relu6(x + 3) / 6),
    partial(Apply, lambda x: x * torch.sigmoid(x)),
    partial(Apply, lambda x: x * torch.sigmoid(x) + x - x / (1 + x**2)),
    partial(Apply, lambda x: 1 - x.abs()),
    partial(Apply, torch.square),
    partial(Apply, lambda x: x.clamp(-1, 2)),
    partial(Apply, lambda x: 0.5 * x - 1),
    partial(Apply, lambda x: x.mul(-0.75).add(0.25)),
    partial(Apply, lambda x: 0.5 * x * (1 + torch.erf(x / 2**0.5))),
    partial(Apply, torch.sin),
    partial(Apply, lambda x: x + torch.cos(2 * x)),
    partial(Apply, lambda x: x.abs().pow(1.5)),
    partial(Apply, lambda x: (x.abs() + 0.1).sqrt()),
    partial(Apply, lambda x: torch.exp(x.clamp(max=1.0))),
    partial(Apply, lambda x: torch.expm1(-x.abs())),
    partial(Apply, lambda x: torch.log(1 + x.abs())),
    partial(Apply, lambda x: torch.rsqrt(x.square() + 0.25)),
    partial(Apply, lambda x: (1 + x.abs()).reciprocal()),
    partial(Apply, lambda x: torch.where(x <= 0.5, x, 0.25 + 0.5 * x)),
    partial(Apply, lambda x: torch.where(x < -0.25, 0.5 * x, x)),
    partial(Apply, lambda x: x * (x >= 0.25)),
    partial(Apply, lambda x: x + 0.5 * (x > 0)),
]


def activation(rng: random.Random) -> nn.Module:
    return nn.ReLU() if rng.random() < 0.4 else rng.choice(ACTIVATIONS)()


def divisor(rng: random.Random, a: int, b: int) -> int:
    """One that both have."""
    return rng.choice([g for g in range(1, min(a, b) + 1) if a % g == b % g == 0])


def conv(rng: random.Random, shape: Shape, outputs: int | None = None, same_size: bool = False) -> nn.Sequential:
    """Convolution, often with a norm, often with an activation, of random geometry."""
    dims, inputs = len(shape) - 1, shape[0]
    outputs = outputs or rng.choice((2, 3, 4, 6, 8))
    kernel = [min(rng.choice((1, 2, 3, 3)), size) for size in shape[1:]]
    dilation = [rng.choice((1, 1, 2)) if (k - 1) * 2 < size else 1 for k, size in zip(kernel, shape[1:], strict=True)]
    if same_size or rng.random() < 0.3:
        stride, padding = 1, "same"
    else:
        stride = [rng.choice((1, 1, 2)) for _ in kernel]
        padding = [rng.randint(0, k // 2 + 1) for k in kernel]
    groups = divisor(rng, inputs, outputs) if rng.random() < 0.4 else 1
    layer = CONV[dims](inputs, outputs, kernel, stride, padding, dilation, groups, bias=rng.random() < 0.5)
    return nn.Sequential(layer, *norm(rng, outputs, dims), activation(rng))


def norm(rng: random.Random, channels: int, dims: int) -> list[nn.Module]:
    return [NORM[dims](channels)] if rng.random() < 0.7 else []
