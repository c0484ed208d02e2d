"""Where alternatives meet."""

from torch import Tensor

from spaces.blocks.block import Block
from spaces.decisions.selection import Selection


class SelectBlock(Block):
    """The output of the branch that runs."""

    def forward(self, selection: Selection, *inputs: Tensor | None) -> Tensor:
        taken = inputs[selection.paths[self.spec.attributes["choice"]]]
        assert taken is not None  # the branch that runs made it
        return taken


BLOCKS: dict[str, type[Block]] = {"select": SelectBlock}
