"""Where alternatives meet."""

from torch import Tensor

from spaces.blocks.block import Block, Selection
from spaces.one_of import picked


class SelectBlock(Block):
    """The output of the branch that runs; in a pass that learns, compared with that of a second one."""

    def forward(self, selection: Selection, *inputs: Tensor | None) -> Tensor:
        choice = self.spec.attributes["choice"]
        first, *second = selection.paths[choice]
        if not second:
            return inputs[first]
        share, probability = selection.share[choice], selection.probability[choice]
        return picked(share, probability, inputs[first], inputs[second[0]], (first, second[0]))
