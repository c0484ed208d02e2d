"""Blocks of two or more inputs: sum, product, concatenation."""

from collections.abc import Sequence

import torch
from torch import Tensor

from spaces.blocks.block import Block, Folded
from spaces.blocks.fixed_point import common_shift, multiplier_and_shift, requantize
from spaces.decisions.selection import Selection
from spaces.passes.passes import Sum
from spaces.quantizers.activation import ActivationQuantizer


def _steps(quantizers: Sequence[ActivationQuantizer]) -> Tensor:
    """(n,), float64."""
    return torch.stack([quantizer.step_there for quantizer in quantizers])


class AddBlock(Block):
    """a + b. Each input has a multiplier, and there is one shift."""

    def fake(self, selection: Selection, *inputs: Tensor) -> Tensor:
        a, b = inputs
        sums = Sum(a, b) if a.shape == b.shape else a + b
        return self.finish(selection, sums, selection.keep.get(self.name))

    @torch.no_grad()
    def fold(self) -> Folded:
        quantizer = self.sum_quantizer()
        multiplier, shift = common_shift(_steps(self.sources) / quantizer.step_there)
        return Folded(multiplier, shift, quantizer.zero_point, self.clip(), table=self.table())

    def integers(self, a: Tensor, b: Tensor) -> Tensor:
        m = self.folded().multiplier
        return a * m[0] + b * m[1]

    @staticmethod
    def _per_channel(folded: Folded, acc: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones_like(folded.shift), folded.shift


class MulBlock(Block):
    """a * b, element by element."""

    def combine(self, selection: Selection, a: Tensor, b: Tensor) -> Tensor:
        return a * b

    @torch.no_grad()
    def fold(self) -> Folded:
        quantizer = self.sum_quantizer()
        a, b = self.sources
        multiplier, shift = multiplier_and_shift((a.step_there * b.step_there / quantizer.step_there)[None])
        return Folded(multiplier, shift, quantizer.zero_point, self.clip(), table=self.table())

    def integers(self, a: Tensor, b: Tensor) -> Tensor:
        return a * b


class ConcatBlock(Block):
    """Several tensors one after another along an axis, on one scale."""

    def combine(self, selection: Selection, *inputs: Tensor) -> Tensor:
        return torch.cat(inputs, 1 + self.spec.attributes["axis"])

    @torch.no_grad()
    def fold(self) -> Folded:
        quantizer = self.sum_quantizer()
        multiplier, shift = multiplier_and_shift(_steps(self.sources) / quantizer.step_there)
        return Folded(multiplier, shift, quantizer.zero_point, self.clip(), table=self.table())

    def integers(self, *inputs: Tensor) -> Tensor:
        folded = self.folded()
        parts = zip(inputs, folded.multiplier, folded.shift, strict=True)
        return torch.cat([requantize(x, m, n) for x, m, n in parts], 1 + self.spec.attributes["axis"])

    @staticmethod
    def _per_channel(folded: Folded, acc: Tensor) -> tuple[Tensor, Tensor]:
        one = torch.ones_like(folded.shift[:1])
        return 2 * one, one  # already requantized: (acc * 2 + 1) >> 1 = acc


BLOCKS: dict[str, type[Block]] = {"add": AddBlock, "mul": MulBlock, "concat": ConcatBlock}
