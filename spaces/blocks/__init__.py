"""Blocks: the nodes of a Space. One block is one node of the Program."""

from spaces.blocks.block import GATES, Block, Fixed, Selection, Weights
from spaces.blocks.conv import ConvBlock
from spaces.blocks.join import AddBlock, ConcatBlock, MulBlock
from spaces.blocks.pool import AvgPoolBlock, FlattenBlock, MaxPoolBlock
from spaces.blocks.select import SelectBlock
from spaces.blocks.table import TableBlock

BLOCKS: dict[str, type[Block]] = {
    "conv": ConvBlock,
    "linear": ConvBlock,
    "add": AddBlock,
    "mul": MulBlock,
    "concat": ConcatBlock,
    "max_pool": MaxPoolBlock,
    "avg_pool": AvgPoolBlock,
    "flatten": FlattenBlock,
    "table": TableBlock,
    "select": SelectBlock,
}

__all__ = ["BLOCKS", "GATES", "Block", "Fixed", "Selection", "Weights"]
