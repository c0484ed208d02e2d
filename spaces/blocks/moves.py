"""Blocks that move codes and compute nothing."""

from typing import Any

import torch
from torch import Tensor

from spaces.blocks.block import Block
from spaces.decisions.selection import Selection
from spaces.spec import BlockSpec


class KeepsScale(Block):
    """A block whose output has the codes of its input, so that nothing is requantized."""

    def forward(self, selection: Selection, *inputs: Tensor) -> Tensor:
        return self._watch(self.combine(selection, *inputs))


class TakeBlock(KeepsScale):
    """The elements at places that are listed for each axis: slices, shuffled channels, repeated or mirrored pixels."""

    def __init__(self, spec: BlockSpec, *shared: Any) -> None:
        super().__init__(spec, *shared)
        for dim, places in enumerate(spec.attributes["indices"], start=1):
            self.register_buffer(f"places_{dim}", torch.tensor(places, dtype=torch.long), persistent=False)
        self.slices = {
            dim: _as_slice(places) for dim, places in enumerate(spec.attributes["indices"], start=1) if places
        }

    def combine(self, selection: Selection, x: Tensor) -> Tensor:
        for dim, part in self.slices.items():
            every = (slice(None),) * dim
            x = x[(*every, part)] if part is not None else x.index_select(dim, self.get_buffer(f"places_{dim}"))
        return x


def _as_slice(places: list[int]) -> slice | None:
    """The slice that takes these places; None where they are no even steps forward."""
    first, step = places[0], places[1] - places[0] if len(places) > 1 else 1
    even = step > 0 and places == list(range(first, first + step * len(places), step))
    return slice(first, places[-1] + 1, step) if even else None


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
