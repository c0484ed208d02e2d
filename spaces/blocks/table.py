"""An elementwise activation that stands alone."""

import torch
from torch import Tensor

from spaces.blocks.activations import activate
from spaces.blocks.block import Block
from spaces.decisions.selection import Selection


class TableBlock(Block):
    """f(x), looked up for each of the input's codes."""

    def fake(self, selection: Selection, *inputs: Tensor) -> Tensor:
        y, keep = activate(inputs[0], self.spec.activation), selection.keep.get(self.name)
        if keep is not None and self.moves_zero:
            y = y * keep.view(1, -1, *(1,) * (y.dim() - 2))
        return self._onto_grid(selection, y)

    @torch.no_grad()
    def table(self) -> Tensor:
        return self.looked_up(self.sources[0])

    def exact(self, *inputs: Tensor) -> Tensor:
        return self.output.decode(self.kept("table", self.table)[self.sources[0].codes(inputs[0])])


BLOCKS: dict[str, type[Block]] = {"table": TableBlock}
