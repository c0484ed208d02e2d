"""How the weights of many layers lie in one flat tensor, as they are stored and as they are used."""

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

MOST_TAPS = 1024  # of a layer that is used tap by tap; passes.c has a buffer for so many


class Channels(NamedTuple):
    """The channels (C,) of the weights of many layers, which are one flat tensor (N,), one channel after another.

    A channel's weights are stored input by input, and those of an input tap by tap. A convolution with channels last in
    memory wants them the other way round, tap by tap: so are those that are made for it, and its gradients.

    Attributes:
        row: (N,), the channel of each weight.
        starts: (C + 1,), the first weight of each channel, and how many there are; on the CPU.
        layer: (C,), int32, the layer of each channel; on the CPU.
        begins: (layers,), the first weight of each layer; on the CPU.
        taps: of each layer that is used tap by tap; 1 of others.
        order: (N,), the place of each weight that is made among those that are stored; None: they are in one order.
    """

    row: Tensor
    starts: Tensor
    layer: Tensor
    begins: Tensor
    taps: tuple[int, ...]
    order: Tensor | None

    def spread(self, numbers: Tensor) -> Tensor:
        """(..., C) -> (..., N). One number for all channels, (..., 1), stays as it is."""
        return numbers if numbers.shape[-1] == 1 else numbers.index_select(-1, self.row)

    def used(self, stored: Tensor) -> Tensor:
        """(N,), in the order in which weights are used."""
        return stored if self.order is None else stored.index_select(0, self.order)


def channels_of(shapes: Sequence[Sequence[int]], device: torch.device) -> Channels:
    """Of layers whose weights have the shapes (channels, inputs, *kernel) or (channels, inputs)."""
    counts = [channels_and_fan_in(shape) for shape in shapes]
    channels, fan_ins = torch.tensor(counts, device="cpu").t()
    each, sizes = fan_ins.repeat_interleave(channels), channels * fan_ins
    starts = torch.cat([each.new_zeros(1), each.cumsum(0)])
    # Nothing is read of the device: how many weights there are is known here.
    rows = torch.arange(len(each), dtype=torch.int32, device=device)
    row = rows.repeat_interleave(each.to(device), output_size=int(starts[-1]))
    layer = torch.arange(len(counts), dtype=torch.int32, device="cpu").repeat_interleave(channels)
    taps = tuple(_taps(shape, device) for shape in shapes)
    return Channels(row, starts, layer, sizes.cumsum(0) - sizes, taps, _order(shapes, taps))


def channels_and_fan_in(shape: Sequence[int]) -> tuple[int, int]:
    """Channels, and the weights of a channel."""
    return shape[0], prod(shape[1:])


def _taps(shape: Sequence[int], device: torch.device) -> int:
    """More than 1 where spaces.entering gives images channels last in memory, and where it makes a difference."""
    by_tap = device.type == "cpu" and len(shape) == 4 and shape[1] > 1 and prod(shape[2:]) <= MOST_TAPS
    return prod(shape[2:]) if by_tap else 1


def _order(shapes: Sequence[Sequence[int]], taps: Sequence[int]) -> Tensor | None:
    if max(taps) == 1:
        return None
    places = torch.arange(sum(prod(shape) for shape in shapes), device="cpu").split([prod(shape) for shape in shapes])
    each = zip(places, shapes, taps, strict=True)
    return torch.cat([part.view(shape[0], -1, count).transpose(1, 2).reshape(-1) for part, shape, count in each])


def in_shape(used: Tensor, shape: torch.Size, taps: int) -> Tensor:
    """The weights of a layer, out of a flat tensor in the order in which they are used. taps: of Channels."""
    if taps == 1:
        return used.view(shape)
    return used.view(shape[0], *shape[2:], shape[1]).permute(0, 3, 1, 2)


def as_used(grad: Tensor, taps: int) -> Tensor:
    """The gradient of a layer's weights, as it lies in memory where they are used. taps: of Channels."""
    return grad.contiguous(memory_format=torch.channels_last if taps > 1 else torch.contiguous_format)


def joined(weights: Sequence[Tensor]) -> Tensor:
    """(N,), weights of each layer, or their gradients, in the order in which they are stored."""
    return torch.cat([each.reshape(-1) for each in weights])


def gradients(weights: Sequence[Tensor], grads: Sequence[Tensor | None]) -> list[Tensor]:
    """Those of each layer; 0 where there is none."""
    return [w.new_zeros(w.shape) if g is None else g for w, g in zip(weights, grads, strict=True)]
