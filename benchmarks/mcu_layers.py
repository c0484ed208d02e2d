"""What benchmarks.mcu measures: single layers of many shapes, and whole networks."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cost_models.kernels import GROUPED, TRANSPOSED
from spaces.networks import NETWORKS as SEEDS

Shape = tuple[int, ...]
Bits = int | tuple[int, ...]  # of all weights, or of each channel one that is drawn
MIXED = (2, 4, 8)


@dataclass(frozen=True)
class Case:
    """A network to be measured.

    Attributes:
        shapes: of its inputs, without the batch.
        bits: of its weights, with which it is measured one after another.
        kind: of cost_models.kernels.SPECIAL, where it is a single layer that is measured for the rows of that kind.
    """

    name: str
    make: Callable[[], nn.Module]
    shapes: tuple[Shape, ...]
    bits: tuple[Bits, ...] = (8,)
    kind: str = ""


class Call(nn.Module):
    """A function of its inputs."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(*inputs)


class Tcn(nn.Sequential):
    """Four dilated convolutions over time."""

    def __init__(self) -> None:
        layers: list[nn.Module] = []
        for place, (before, after) in enumerate(((6, 32), (32, 32), (32, 48), (48, 48))):
            gap = 2**place
            convolution = nn.Conv1d(before, after, 5, padding=2 * gap, dilation=gap)
            layers += [convolution, nn.BatchNorm1d(after), nn.ReLU()]
        super().__init__(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(48, 8))


class UNet(nn.Module):
    """Down twice by grouped convolutions, up twice by transposed ones, with what was there before beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _normed(nn.Conv2d(3, 16, 3, padding=1), 16)
        self.down = _normed(nn.Conv2d(16, 32, 3, 2, 1, groups=4), 32)
        self.deep = _normed(nn.Conv2d(32, 64, 3, 2, 1, groups=8), 64)
        self.mixed = _normed(nn.Conv2d(64, 64, 1, groups=2), 64)
        self.up = _normed(nn.ConvTranspose2d(64, 32, 2, 2), 32)
        self.joined = _normed(nn.Conv2d(64, 32, 3, padding=1, groups=2), 32)
        self.top = _normed(nn.ConvTranspose2d(32, 16, 4, 2, 1), 16)
        self.head = nn.Conv2d(32, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        whole = self.stem(x)
        half = self.down(whole)
        up = self.joined(torch.cat([half, self.up(self.mixed(self.deep(half)))], 1))
        y: Tensor = self.head(torch.cat([whole, self.top(up)], 1))
        return y


class Lstm(nn.Module):
    """Two layers over time, and what the second ends in."""

    def __init__(self) -> None:
        super().__init__()
        self.layers, self.head = nn.LSTM(8, 24, 2, batch_first=True), nn.Linear(24, 6)

    def forward(self, x: Tensor) -> Tensor:
        every, _ = self.layers(x)
        y: Tensor = self.head(every[:, -1])
        return y


def _normed(convolution: nn.Module, channels: int) -> nn.Module:
    return nn.Sequential(convolution, nn.BatchNorm2d(channels), nn.ReLU())


def _pointwise(channels: int, out: int) -> Callable[[], nn.Module]:
    return lambda: nn.Conv2d(channels, out, 1)


def _special(bits: tuple[Bits, ...]) -> Iterator[Case]:
    """Transposed and grouped convolutions."""

    def transposed(name: str, shape: Shape, *given: int, **more: int) -> Case:
        layer = {2: nn.ConvTranspose1d, 3: nn.ConvTranspose2d}[len(shape)]
        return Case(f"conv_transpose {name}", lambda: layer(*given, **more), (shape,), bits, TRANSPOSED)

    def grouped(name: str, shape: Shape, out: int, kernel: int, groups: int, **more: int) -> Case:
        layer = {2: nn.Conv1d, 3: nn.Conv2d}[len(shape)]
        make = lambda: layer(shape[0], out, kernel, padding=kernel // 2, groups=groups, **more)  # noqa: E731
        return Case(f"conv {name}, groups", make, (shape,), bits, GROUPED)

    yield transposed("2x2", (16, 16, 16), 16, 8, 2, 2)
    yield transposed("2x2", (32, 8, 8), 32, 16, 2, 2)
    yield transposed("2x2", (64, 4, 4), 64, 32, 2, 2)
    yield transposed("2x2", (13, 9, 9), 13, 7, 2, 2)
    yield transposed("3x3 stride 2", (16, 8, 8), 16, 16, 3, 2, 1, 1)
    yield transposed("3x3 stride 2", (6, 7, 7), 6, 9, 3, 2, 1, 1)
    yield transposed("3x3", (8, 10, 10), 8, 16, 3, 1, 1)
    yield transposed("4x4 stride 2", (24, 6, 6), 24, 12, 4, 2, 1)
    yield transposed("4 stride 2", (16, 32), 16, 16, 4, 2, 1)
    yield transposed("8 stride 4", (32, 16), 32, 16, 8, 4, 2)
    yield transposed("3x3 stride 2, groups", (16, 8, 8), 16, 16, 3, 2, 1, 1, groups=2)
    yield grouped("3x3", (32, 12, 12), 32, 3, 4)
    yield grouped("3x3", (16, 8, 8), 32, 3, 2)
    yield grouped("3x3", (16, 10, 10), 24, 3, 8)
    yield grouped("3x3", (64, 6, 6), 64, 3, 16)
    yield grouped("3x3", (18, 7, 7), 27, 3, 3)
    yield grouped("3x3", (26, 7, 7), 14, 3, 2)
    yield grouped("3x3 stride 2", (32, 12, 12), 64, 3, 8, stride=2)
    yield grouped("5x5", (12, 9, 9), 10, 5, 2)
    yield grouped("5", (32, 64), 32, 5, 4)
    yield grouped("pointwise", (64, 8, 8), 64, 1, 4)
    yield grouped("pointwise", (32, 10, 10), 48, 1, 2)
    yield grouped("pointwise", (14, 9, 9), 22, 1, 2)


def _layers() -> Iterator[Case]:
    every: tuple[Bits, ...] = (8, 4, 2, MIXED)

    def conv(name: str, shape: Shape, *given: int, **more: Any) -> Case:
        layer = {2: nn.Conv1d, 3: nn.Conv2d}[len(shape)]
        return Case(name, lambda: layer(*given, **more), (shape,), every)

    yield conv("conv 3x3", (16, 16, 16), 16, 32, 3, padding=1)
    yield conv("conv 3x3", (3, 32, 32), 3, 16, 3, padding=1)
    yield conv("conv 3x3", (16, 32, 32), 16, 16, 3, padding=1)
    yield conv("conv 3x3 stride 2", (32, 16, 16), 32, 64, 3, padding=1, stride=2)
    yield conv("conv 3x3", (64, 8, 8), 64, 64, 3, padding=1)
    yield conv("conv 5x5", (8, 12, 12), 8, 16, 5, padding=2)
    yield conv("conv 3x3 stride 2", (3, 48, 48), 3, 8, 3, padding=1, stride=2)
    yield conv("conv 10x4 stride 2", (1, 49, 10), 1, 64, (10, 4), padding=(5, 1), stride=2)  # type: ignore[arg-type]
    yield conv("conv 9", (16, 64), 16, 32, 9, padding=4)
    yield conv("conv 5", (32, 100), 32, 32, 5, padding=2)
    yield conv("conv 3x3", (13, 11, 11), 13, 27, 3, padding=1)
    yield conv("conv 3x3", (6, 14, 14), 6, 9, 3, padding=1)
    yield conv("conv 8x8", (16, 8, 8), 16, 12, 8)
    yield conv("conv 64", (16, 64), 16, 12, 64)
    sizes = ((32, 64, 16), (64, 64, 12), (16, 32, 24), (128, 128, 4), (8, 16, 24), (96, 24, 8))
    for channels, out, size in (*sizes, (13, 27, 11), (30, 22, 7), (7, 9, 14), (57, 41, 5)):
        yield conv("pointwise", (channels, size, size), channels, out, 1)
    for channels, out, size in ((12, 30, 14), (20, 26, 7), (41, 58, 7), (62, 49, 4), (101, 90, 4), (26, 33, 10)):
        yield Case("pointwise", _pointwise(channels, out), ((channels, size, size),), (MIXED,))
    for channels, size, stride in (
        (32, 16, 1),
        (64, 12, 1),
        (16, 24, 2),
        (8, 48, 1),
        (128, 4, 1),
        (13, 11, 1),
        (30, 7, 1),
    ):
        yield conv("depthwise 3x3", (channels, size, size), channels, channels, 3, stride, 1, groups=channels)
    yield conv("depthwise 9", (32, 64), 32, 32, 9, padding=4, groups=32)
    yield conv("depthwise 3x3, two outputs a channel", (16, 12, 12), 16, 32, 3, padding=1, groups=16)
    yield from _special(every)
    for features, out in ((64, 10), (256, 64), (640, 128), (128, 128), (61, 9)):
        yield Case("linear", lambda features=features, out=out: nn.Linear(features, out), ((features,),), every)  # type: ignore[misc]
    maps = (16, 16, 16)
    others: dict[str, tuple[Callable[[], nn.Module], tuple[Shape, ...]]] = {
        "add": (lambda: Call(torch.add), (maps, maps)),
        "resample": (lambda: nn.Upsample(scale_factor=2, mode="bilinear"), (maps,)),
        "matmul": (lambda: Call(torch.matmul), ((4, 16, 16), (4, 16, 16))),
        "permute": (lambda: Call(lambda x: x.permute(0, 2, 1)), ((16, 64),)),
        "take": (lambda: Call(lambda x: x[:, 3:9]), ((16, 64),)),
        "mul": (lambda: Call(torch.mul), (maps, maps)),
        "concat": (lambda: Call(lambda a, b: torch.cat([a, b], 1)), (maps, maps)),
        "max_pool 2x2": (lambda: nn.MaxPool2d(2), (maps,)),
        "max_pool 3x3": (lambda: nn.MaxPool2d(3, 2, 1), (maps,)),
        "avg_pool 2x2": (lambda: nn.AvgPool2d(2), (maps,)),
        "max_pool 4": (lambda: nn.MaxPool1d(4), ((16, 128),)),
        "avg_pool 64": (lambda: nn.AvgPool1d(64), ((16, 64),)),
        "avg_pool 16x16": (lambda: nn.AvgPool2d(16), (maps,)),
        "table": (nn.Sigmoid, (maps,)),
        "softmax": (lambda: Call(lambda x: F.softmax(x, -1)), ((16, 64),)),
        "normalize": (lambda: nn.LayerNorm(64), ((16, 64),)),
        "normalize groups": (lambda: nn.GroupNorm(4, 16), (maps,)),
    }
    for name, (make, shapes) in others.items():
        yield Case(name, make, shapes)


LAYERS = tuple(_layers())
NETWORKS = (
    Case("resnet8", lambda: SEEDS["resnet8"](in_channels=3), ((3, 32, 32),), (8, 4, 2, MIXED)),
    Case("ds_cnn", lambda: SEEDS["ds_cnn"](in_channels=1), ((1, 49, 10),), (8, 4, MIXED)),
    Case("mobilenet_v1", lambda: SEEDS["mobilenet_v1"](in_channels=3), ((3, 64, 64),), (8, 4, MIXED)),
    Case("tcn", Tcn, ((6, 128),), (8, 2)),
    Case("lstm", Lstm, ((40, 8),), (8, MIXED)),
    Case("crnn", lambda: SEEDS["crnn"](in_channels=1), ((1, 10, 49),), (8, MIXED)),
    Case("autoencoder", SEEDS["autoencoder"], ((640,),), (8,)),
    Case("unet", UNet, ((3, 32, 32),), (8, 4, MIXED)),
)
