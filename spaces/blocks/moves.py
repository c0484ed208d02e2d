"""Blocks that move codes and compute nothing."""

import torch
from torch import Tensor

from spaces.blocks.block import Block
from spaces.decisions.selection import Selection


class KeepsScale(Block):
    """A block whose output has the codes of its input, so that nothing is requantized."""

    def forward(self, selection: Selection, *inputs: Tensor) -> Tensor:
        return self._watch(self.combine(selection, *inputs))


class TakeBlock(KeepsScale):
    """The elements at places that are listed for each axis: slices, shuffled channels, repeated or mirrored pixels."""

    def combine(self, selection: Selection, x: Tensor) -> Tensor:
        for dim, places in enumerate(self.spec.attributes["indices"], start=1):
            if places:
                first, step = places[0], places[1] - places[0] if len(places) > 1 else 1
                regular = step > 0 and places == list(range(first, first + step * len(places), step))
                part = slice(first, places[-1] + 1, step)
                x = (
                    x[(slice(None),) * dim + (part,)]
                    if regular
                    else x.index_select(dim, torch.tensor(places, device=x.device))
                )
        return x


class PermuteBlock(KeepsScale):
    """The axes in another order."""

    def combine(self, selection: Selection, x: Tensor) -> Tensor:
        return x.permute(0, *(axis + 1 for axis in self.spec.attributes["axes"]))


class ReshapeBlock(KeepsScale):
    """The elements in row-major order under another shape."""

    def combine(self, selection: Selection, x: Tensor) -> Tensor:
        shape = list(self.spec.attributes["shape"])
        return x.reshape(len(x), *shape)


BLOCKS: dict[str, type[Block]] = {"take": TakeBlock, "permute": PermuteBlock, "reshape": ReshapeBlock}
