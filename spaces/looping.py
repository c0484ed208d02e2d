"""A loop of a Space: blocks that run once for each place of a sequence, with states carried from one to the next.

What depends on no state runs once for all places, as on a batch that is so many times as large. The rest runs place by
place.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack

import torch
from torch import Tensor

from search.integer.traits import Border
from spaces.blocks.block import Block
from spaces.decisions.selection import Selection
from spaces.modes import INTEGER


def looped(blocks: Sequence[Block], values: Mapping[str, Tensor], selection: Selection) -> dict[str, Tensor]:
    """What the blocks of a loop compute: (N, *shape) each, at the last place, or at all of those that are gathered.

    Args:
        values: tensor -> (N, *shape), what was computed before.
    """
    with ExitStack() as stack:
        if selection.mode == INTEGER:
            for block in blocks:
                stack.enter_context(block.folding_once())
        return _run(blocks, values, selection)


def _run(blocks: Sequence[Block], values: Mapping[str, Tensor], selection: Selection) -> dict[str, Tensor]:
    borders = {border: [b for b in blocks if b.spec.operator.loops is border] for border in Border}
    sequences = [values[block.spec.inputs[0]] for block in borders[Border.READ]]
    samples, length = len(sequences[0]), sequences[0].shape[-1]
    each = _at_all_places(blocks, borders[Border.READ], sequences, selection)
    inside = [b for b in blocks if b.name not in each and b.spec.operator.loops is not Border.GATHER]
    gathered: dict[str, list[Tensor]] = {block.name: [] for block in borders[Border.GATHER]}
    now: dict[str, Tensor] = {}
    for place in range(length):
        before, now = now, {name: parts[place] for name, parts in each.items()}
        for block in inside:
            if block.spec.operator.loops is Border.CARRY:
                zeros = sequences[0].new_zeros(samples, *block.spec.shape)
                now[block.name] = before[block.spec.attributes["next"]] if place else zeros
            else:
                now[block.name] = block(selection, *[now[name] for name in block.spec.inputs])
        for block in borders[Border.GATHER]:
            gathered[block.name].append(now[block.spec.inputs[0]])
    return now | {name: torch.stack(parts, -1) for name, parts in gathered.items()}


def _at_all_places(
    blocks: Sequence[Block], reads: Sequence[Block], sequences: Sequence[Tensor], selection: Selection
) -> dict[str, tuple[Tensor, ...]]:
    """Of what depends on no state: tensor -> (N, *shape) at each place."""
    samples, length = len(sequences[0]), sequences[0].shape[-1]
    joined = {
        block.name: x.movedim(-1, 0).reshape(length * samples, *x.shape[1:-1])
        for block, x in zip(reads, sequences, strict=True)
    }
    for block in blocks:
        inputs = block.spec.inputs
        if block.spec.operator.loops is None and inputs and all(name in joined for name in inputs):
            joined[block.name] = block(selection, *[joined[name] for name in inputs])
    return {name: x.reshape(length, samples, *x.shape[1:]).unbind(0) for name, x in joined.items()}
