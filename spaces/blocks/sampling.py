"""Blocks that resize maps: weighted sums along each axis, and transposed convolutions."""

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from spaces.blocks.block import Block, Folded
from spaces.blocks.conv import ConvBlock
from spaces.blocks.fixed_point import multiplier_and_shift
from spaces.decisions.selection import Selection
from spaces.passes.passes import Sum
from spaces.spec import BlockSpec

TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


class ResampleBlock(Block):
    """Each spatial axis resized by weights, which are whole numbers over a divisor for each axis."""

    def __init__(self, spec: BlockSpec, *shared: Any) -> None:
        super().__init__(spec, *shared)
        a = spec.attributes
        self.divisor: int = prod(a["divisors"])
        for axis, (starts, rows) in enumerate(zip(a["starts"], a["weights"], strict=True)):
            matrix = torch.zeros(len(rows), max(at + len(row) for at, row in zip(starts, rows, strict=True)))
            for place, (at, row) in enumerate(zip(starts, rows, strict=True)):
                matrix[place, at : at + len(row)] = torch.tensor(row, dtype=torch.float32)
            self.register_buffer(f"matrix_{axis}", matrix, persistent=False)
        self.axes = len(a["weights"])

    def matrices(self) -> Sequence[Tensor]:
        """(places, elements) for each spatial axis. Elements at the end of which nothing is taken are left out."""
        return [self.get_buffer(f"matrix_{axis}") for axis in range(self.axes)]

    def _sums(self, x: Tensor) -> Tensor:
        for dim, matrix in enumerate(self.matrices(), start=2):
            part = x.narrow(dim, 0, matrix.shape[1]).movedim(dim, -1)
            x = (part @ matrix.to(x.dtype).t()).movedim(-1, dim)
        return x

    def combine(self, selection: Selection, x: Tensor) -> Tensor:
        mean: Tensor = self._sums(x) / self.divisor
        return mean

    @torch.no_grad()
    def fold(self) -> Folded:
        quantizer = self.sum_quantizer()
        ratio = self.sources[0].step_there / quantizer.step_there / self.divisor
        multiplier, shift = multiplier_and_shift(ratio[None])
        return Folded(multiplier, shift, quantizer.zero_point, self.clip(), table=self.table())

    def integers(self, x: Tensor) -> Tensor:
        return self._sums(x.double()).long()


class ConvTransposeBlock(ConvBlock):
    """act(norm(conv(x with zeros between its elements))), quantized. Weights are those of that convolution."""

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Sum:
        a = self.spec.attributes
        groups, kernel = a["groups"], weight.shape[2:]
        turned = mirrored_kernels(weight, groups)
        pairs = zip(a["dilation"], kernel, a["padding"], strict=True)
        padding = [d * (k - 1) - low for d, k, (low, _) in pairs]
        more = [high - low for low, high in a["padding"]]
        y = TRANSPOSED[len(kernel)](x, turned, None, a["stride"], padding, more, groups, a["dilation"])
        return Sum(y, bias)


def mirrored_kernels(weight: Tensor, groups: int) -> Tensor:
    """(C_in, C_out / groups, *kernel) of a transposed convolution to (C_out, C_in / groups, *kernel), and back."""
    each = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:]).transpose(1, 2)
    turned = each.reshape(-1, *each.shape[2:])
    return turned.flip(tuple(range(2, turned.dim())))


BLOCKS: dict[str, type[Block]] = {"resample": ResampleBlock, "conv_transpose": ConvTransposeBlock}
