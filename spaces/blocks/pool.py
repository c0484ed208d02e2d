"""Pools."""

from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

from spaces.autograd import applied
from spaces.blocks.block import Block, Folded
from spaces.blocks.fixed_point import multiplier_and_shift
from spaces.blocks.moves import KeepsScale
from spaces.decisions.selection import Selection

MAX_POOLS = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
AVG_POOLS = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


class _Mean(Function):
    """The mean of each channel, (N, C, 1, ...). Its gradient is one number for all that it is the mean of."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.shape = x.shape
        return x.mean(tuple(range(2, x.dim())), keepdim=True)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        shape: torch.Size = ctx.shape
        return (grad / prod(shape[2:])).expand(shape)


class MaxPoolBlock(KeepsScale):
    def combine(self, selection: Selection, x: Tensor) -> Tensor:
        a = self.spec.attributes
        if any(high != low or 2 * low > k for (low, high), k in zip(a["padding"], a["kernel"], strict=True)):
            x = F.pad(x, [p for pair in reversed(a["padding"]) for p in pair], value=float("-inf"))
            return MAX_POOLS[len(a["kernel"])](x, a["kernel"], a["stride"], 0, a["dilation"])
        padding = [low for low, _ in a["padding"]]
        return MAX_POOLS[len(a["kernel"])](x, a["kernel"], a["stride"], padding, a["dilation"])


class AvgPoolBlock(Block):
    """The mean over windows. The multiplier contains the division."""

    def combine(self, selection: Selection, x: Tensor) -> Tensor:
        return self._pool(x)

    def _pool(self, x: Tensor) -> Tensor:
        a = self.spec.attributes
        padded = any(map(any, a["padding"]))
        if a["kernel"] == list(x.shape[2:]) and not padded:
            return applied(_Mean, x)
        x = F.pad(x, [p for pair in reversed(a["padding"]) for p in pair]) if padded else x
        return AVG_POOLS[len(a["kernel"])](x, a["kernel"], a["stride"])

    @property
    def window(self) -> int:
        return prod(self.spec.attributes["kernel"])

    @torch.no_grad()
    def fold(self) -> Folded:
        quantizer = self.sum_quantizer()
        ratio = self.sources[0].step_there / quantizer.step_there / self.window
        multiplier, shift = multiplier_and_shift(ratio[None])
        return Folded(multiplier, shift, quantizer.zero_point, self.clip(), table=self.table())

    def integers(self, x: Tensor) -> Tensor:
        mean = self._pool(x.double())  # sums of integers, divided: exact once multiplied back and rounded
        return (mean * self.window).round().long()


BLOCKS: dict[str, type[Block]] = {
    "max_pool": MaxPoolBlock,
    "avg_pool": AvgPoolBlock,
}
