"""The single layers of many shapes that benchmarks.mcu measures, and fits its tables to."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cost_models.kernels import GROUPED, TRANSPOSED

Shape = tuple[int, ...]
Bits = int | tuple[int, ...]  # of all weights, or of each channel one that is drawn
MIXED = (2, 4, 8)
CONVOLUTIONS = {2: nn.Conv1d, 3: nn.Conv2d}  # by the axes of their input


@dataclass(frozen=True)
class Case:
    """A network to be measured.

    Attributes:
        shapes: of its inputs, without the batch.
        bits: of its weights, with which it is measured one after another.
        kind: of cost_models.kernels.SPECIAL, where it is a single layer that is measured for the rows of that kind.
        weighted: whether tables are fitted to its layers with weights alone, since its others are too small to measure.
    """

    name: str
    make: Callable[[], nn.Module]
    shapes: tuple[Shape, ...]
    bits: tuple[Bits, ...] = (8,)
    kind: str = ""
    weighted: bool = False


class Call(nn.Module):
    """A function of its inputs."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(*inputs)


class Recurrent(nn.Module):
    """A layer over time, and all that it gives."""

    def __init__(self, layer: type[nn.RNN | nn.LSTM], features: int, hidden: int) -> None:
        super().__init__()
        self.layer = layer(features, hidden, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        every, _ = self.layer(x)
        return cast(Tensor, every)


def _pointwise(channels: int, out: int) -> Callable[[], nn.Module]:
    return lambda: nn.Conv2d(channels, out, 1)


def _activated(layer: Callable[[], nn.Module]) -> nn.Module:
    """With an activation that is a table."""
    return nn.Sequential(layer(), nn.SiLU())


def _special(bits: tuple[Bits, ...]) -> Iterator[Case]:
    """Transposed and grouped convolutions."""

    def transposed(name: str, shape: Shape, *given: int, **more: int) -> Case:
        layer = {2: nn.ConvTranspose1d, 3: nn.ConvTranspose2d}[len(shape)]
        return Case(f"conv_transpose {name}", lambda: layer(*given, **more), (shape,), bits, TRANSPOSED)

    def grouped(name: str, shape: Shape, out: int, kernel: int, groups: int, **more: Any) -> Case:
        layer = CONVOLUTIONS[len(shape)]
        given = {"padding": kernel // 2, **more}
        make = lambda: layer(shape[0], out, kernel, groups=groups, **given)  # noqa: E731
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
    yield transposed("4 stride 2, groups", (32, 24), 32, 16, 4, 2, 1, groups=2)
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
    yield grouped("8x8", (16, 8, 8), 12, 8, 2, padding=0)
    yield grouped("64", (16, 64), 12, 64, 2, padding=0)


def _layers() -> Iterator[Case]:
    every: tuple[Bits, ...] = (8, 4, 2, MIXED)

    def conv(name: str, shape: Shape, *given: int, **more: Any) -> Case:
        layer = CONVOLUTIONS[len(shape)]
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
    large, small = ((64, 10), (256, 64), (640, 128), (128, 128), (61, 9)), ((8, 24), (24, 24), (48, 12), (80, 48))
    for channels, size in ((16, 16), (30, 7)):
        for name, kernel, groups in (("conv 3x3", 3, 1), ("pointwise", 1, 1), ("depthwise 3x3", 3, channels)):
            layer = partial(nn.Conv2d, channels, channels, kernel, padding=kernel // 2, groups=groups)
            yield Case(f"{name}, activated", partial(_activated, layer), ((channels, size, size),))
    for features, out in ((64, 64), (24, 24)):
        yield Case("linear, activated", partial(_activated, partial(nn.Linear, features, out)), ((features,),))
    for features, out in (*large, *small):  # small ones are in each gate of a recurrent layer
        yield Case("linear", lambda features=features, out=out: nn.Linear(features, out), ((features,),), every)  # type: ignore[misc]
    yield from _without_weights()
    yield from _in_loops(every)


def _without_weights() -> Iterator[Case]:
    """All other operators. Each is on maps, sequences and vectors, and has a case of each way in which it may copy."""
    maps, smaller, sequence = (16, 16, 16), (32, 8, 8), (16, 64)

    def of(name: str, function: Callable[..., Tensor], *shapes: Shape) -> Case:
        return Case(name, lambda: Call(function), shapes)

    def joined(axis: int, *shapes: Shape) -> Case:
        return of("concat", lambda *parts: torch.cat(parts, axis), *shapes)

    def pooled(name: str, pool: nn.Module, shape: Shape) -> Iterator[Case]:
        """Of codes whose zero point is any, and of those that are not below it, which is then 0."""
        yield Case(name, lambda: pool, (shape,))
        yield Case(f"{name}, rectified", lambda: nn.Sequential(nn.ReLU(), pool), (shape,))

    for name, function in (("add", torch.add), ("mul", torch.mul)):
        for shape in (maps, smaller, sequence, (24,)):
            yield of(name, function, shape, shape)
    for shape in (maps, (24,)):
        yield of("add, activated", lambda x, y: torch.sigmoid(x + y), shape, shape)
        yield of("mul, activated", lambda x, y: torch.sigmoid(x * y), shape, shape)
    yield of("mul of channels", torch.mul, maps, (16, 1, 1))
    yield of("mul of channels", torch.mul, smaller, (32, 1, 1))
    yield joined(1, maps, maps)
    yield joined(1, (24, 8, 8), (8, 8, 8))
    yield joined(1, smaller, smaller, (64, 8, 8))
    yield joined(1, (12, 4, 4), (4, 4, 4), (20, 4, 4), (8, 4, 4))
    yield joined(2, sequence, (16, 32))
    yield joined(1, (40,), (24,))
    yield of("take", lambda x: x[:, 3:9], sequence)
    yield of("take", lambda x: x[:, 8:], maps)
    yield of("take", lambda x: x[:, :, 1:-1, 1:-1], maps)
    yield of("take", lambda x: x[:, :, ::2, ::2], maps)
    yield of("take", lambda x: x[:, [1, 2, 4, 7, 11, 13]], sequence)
    yield of("permute", lambda x: x.permute(0, 2, 1), sequence)
    yield of("permute", lambda x: x.permute(0, 2, 1), (64, 16))
    yield of("permute", lambda x: x.permute(0, 2, 1, 3), (16, 4, 8))
    yield of("permute", lambda x: x.permute(0, 1, 3, 2), (4, 16, 8))
    yield Case("resample", lambda: nn.Upsample(scale_factor=2, mode="bilinear"), (maps,))
    yield Case("resample", lambda: nn.Upsample(scale_factor=2, mode="bilinear"), (smaller,))
    yield Case("resample", lambda: nn.Upsample(scale_factor=2, mode="linear"), (sequence,))
    yield of("matmul", torch.matmul, (4, 16, 16), (4, 16, 16))
    yield of("matmul", torch.matmul, (2, 24, 8), (2, 8, 24))
    yield of("matmul", torch.matmul, (2, 20, 40), (2, 40, 10))
    yield of("matmul", torch.matmul, (2, 32, 32), (2, 32, 16))
    for shape in ((4, 16, 8), (2, 16, 24)):
        yield of("matmul", lambda x, y: x @ y.transpose(-1, -2), shape, shape)
    for shape in (maps, smaller, (48, 12, 12)):
        yield from pooled("max_pool 2x2", nn.MaxPool2d(2), shape)
        yield from pooled("max_pool 3x3", nn.MaxPool2d(3, 2, 1), shape)
        yield from pooled("avg_pool 2x2", nn.AvgPool2d(2), shape)
    yield from pooled("max_pool 3x3 stride 1", nn.MaxPool2d(3, 1, 1), smaller)
    yield from pooled("max_pool 4", nn.MaxPool1d(4), (16, 128))
    yield from pooled("avg_pool 64", nn.AvgPool1d(64), sequence)
    yield from pooled("avg_pool 16x16", nn.AvgPool2d(16), maps)
    yield from pooled("avg_pool 8x8", nn.AvgPool2d(8), (64, 8, 8))
    yield from pooled("avg_pool 4x4", nn.AvgPool2d(4), (96, 4, 4))
    yield Case("table", nn.Sigmoid, (maps,))
    yield Case("table", nn.Sigmoid, ((48,),))
    yield of("softmax", lambda x: F.softmax(x, -1), sequence)
    yield of("softmax", lambda x: F.softmax(x, -1), (4, 16, 16))
    for features in (32, 64):
        yield Case("normalize", lambda features=features: nn.LayerNorm(features), ((16, features),))  # type: ignore[misc]
    yield Case("normalize groups", lambda: nn.GroupNorm(4, 16), (maps,))


def _in_loops(every: tuple[Bits, ...]) -> Iterator[Case]:
    """What reads, carries and gathers places, and layers of eight gates, which share a kernel.

    The compiler makes that kernel for none of them alone, as it does for single layers. They are wide where operators
    without weights are measured, so that what is traced takes little beside them.
    """
    yield Case("loop", lambda: Recurrent(nn.RNN, 256, 16), ((16, 256),))
    yield Case("loop", lambda: Recurrent(nn.RNN, 128, 128), ((16, 128),))
    yield Case("loop", lambda: Recurrent(nn.LSTM, 256, 96), ((8, 256),))
    yield Case("gates", lambda: Recurrent(nn.LSTM, 24, 24), ((4, 24),), every, weighted=True)


LAYERS = tuple(_layers())
