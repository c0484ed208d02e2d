"""The blocks of a space in a pass: which of them run, on what, and how long each tensor is kept."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import dropwhile

from torch import Tensor

from search.integer.looping import parts
from spaces.blocks import Block
from spaces.blocks.places import places_of, shared_places, with_places
from spaces.decisions.schedule import PassSchedule
from spaces.decisions.selection import Selection
from spaces.looping import looped

Part = tuple[str, list[Block]]  # a loop with its blocks; "" and a block that is in none


class Walk:
    """Runs blocks, whose modules it shares with a space, in their order. Args: outputs: tensors of the network."""

    def __init__(self, blocks: Sequence[Block], outputs: Sequence[str], schedule: PassSchedule) -> None:
        self._schedule, self._parts = schedule, list(parts(blocks))
        self._shared_places = shared_places(blocks, outputs)
        self._reads_few = {block.name for block in blocks if places_of(block) is not None}

    def run(self, selection: Selection, tensors: Mapping[str, Tensor], samples: int, keep: bool) -> dict[str, Tensor]:
        """Tensors by name, (N, ...) each: all of them, or those that are needed at the end.

        Args:
            tensors: what is there before: the inputs, or where the selection starts later what was there then.
            samples: N.
            keep: whether all tensors are wanted.
        """
        schedule, values = self._schedule, dict(tensors)
        few: dict[str, Tensor] = {}  # of tensors that are there, what convolutions with a stride read of them
        for loop, blocks in self._from(selection):
            for name in selection.halfway.keys() & {block.name for block in blocks}:
                selection.halfway[name] = {tensor: value.detach() for tensor, value in values.items()}
            running = [block for block in blocks if schedule.runs(block.spec, selection.paths)]
            if loop and running:
                values |= looped(running, values, selection)
            elif running:
                (block,) = running
                name, read = block.name, few if block.name in self._reads_few else {}
                made = block(selection, *[read.get(source, values.get(source)) for source in block.spec.inputs])
                values[name] = made if block.spec.inputs else made.expand(samples, *made.shape[1:])
                if name in self._shared_places and made.requires_grad and not keep:
                    values[name], few[name] = with_places(values[name], self._shared_places[name])
            for name in () if keep else [name for block in blocks for name in schedule.dead[block.name]]:
                values.pop(name, None)
                few.pop(name, None)
        return values

    def _from(self, selection: Selection) -> Iterator[Part]:
        """The parts of a pass, from the one on where the selection starts."""
        start = selection.start
        if start is None:
            return iter(self._parts)
        return dropwhile(lambda part: all(block.name != start.block for block in part[1]), self._parts)
