"""Blocks: the nodes of a Space. One block is one node of the Program."""

from spaces.blocks.block import Block, Folded
from spaces.blocks.border import BLOCKS as BORDERS
from spaces.blocks.constant import BLOCKS as CONSTANTS
from spaces.blocks.conv import BLOCKS as WEIGHTED
from spaces.blocks.join import BLOCKS as JOINS
from spaces.blocks.moves import BLOCKS as MOVES
from spaces.blocks.pool import BLOCKS as POOLS
from spaces.blocks.reduce import BLOCKS as REDUCTIONS
from spaces.blocks.sampling import BLOCKS as SAMPLING
from spaces.blocks.select import BLOCKS as SELECTS
from spaces.blocks.table import BLOCKS as TABLES
from spaces.blocks.weights import Weights

BLOCKS: dict[str, type[Block]] = {
    **WEIGHTED,
    **SAMPLING,
    **JOINS,
    **POOLS,
    **REDUCTIONS,
    **MOVES,
    **TABLES,
    **CONSTANTS,
    **SELECTS,
    **BORDERS,
}

__all__ = ["BLOCKS", "Block", "Folded", "Weights"]
