"""What stands at the border of a loop. `spaces.looping` runs the loop, and computes what it gives."""

from spaces.blocks.block import Block


class BorderBlock(Block):
    """A place of a sequence, a state, or what is gathered. Its codes are those of what it reads or carries."""


BLOCKS: dict[str, type[Block]] = dict.fromkeys(("step", "state", "collect"), BorderBlock)
