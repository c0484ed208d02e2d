"""Constants in the graph: positions, masks, tokens of a class. They are trained where the model says so."""

from typing import Any

import torch
from torch import Tensor, nn

from spaces.blocks.block import Block
from spaces.decisions.selection import Selection
from spaces.spec import BlockSpec


class ConstantBlock(Block):
    """The same values for every sample: (1, C, *spatial).

    Attributes:
        values: (C, *spatial).
    """

    def __init__(self, spec: BlockSpec, *shared: Any) -> None:
        super().__init__(spec, *shared)
        self.values = nn.Parameter(torch.zeros(spec.shape), requires_grad=not spec.frozen)

    def inherit(self, old: Block, kept: Tensor) -> None:
        super().inherit(old, kept)
        assert isinstance(old, ConstantBlock)  # blocks keep their kind
        with torch.no_grad():
            self.values.copy_(old.values.cpu()[kept])

    def combine(self, selection: Selection) -> Tensor:
        return self.values[None]

    def exact(self, *inputs: Tensor) -> Tensor:
        return self.output.decode(self.output.encode(self.values[None]))

    def extra_constants(self) -> dict[str, Tensor]:
        return {"codes": self.output.encode(self.values)}


BLOCKS: dict[str, type[Block]] = {"constant": ConstantBlock}
