"""Passes of a space that change nothing."""

from collections.abc import Iterator
from contextlib import contextmanager

from spaces.blocks.norm import frozen, unmoved
from spaces.space import FAKE, Space


@contextmanager
def watched(space: Space, frozen_norms: bool = False) -> Iterator[None]:
    """Inside it the space trains, but its passes leave no trace: nothing is drawn, and norms keep their statistics.

    Args:
        frozen_norms: whether norms normalise by these statistics and not by those of the batch.
    """
    norms, before = space.norms.values(), (space.held, space.steered)
    space.held = space.steered = False  # decisions may be those of a step that an exception ended
    try:
        with space.running(FAKE, training=True, draws=False), frozen(norms, frozen_norms), unmoved(norms):
            yield
    finally:
        space.held, space.steered = before
