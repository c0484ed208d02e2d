"""Passes of a space that only look."""

from collections.abc import Iterator
from contextlib import contextmanager

from spaces.blocks.norm import unmoved
from spaces.space import FAKE, Space


@contextmanager
def watched(space: Space, frozen_norms: bool = False) -> Iterator[None]:
    """The space in training, but its passes leave no trace: nothing is drawn, norms keep their running statistics.

    Args:
        frozen_norms: they normalise by these, not by the batch's.
    """
    training, mode = space.training, space.mode
    try:
        space.train()
        space.set_mode(FAKE)
        space.draws = False
        space.freeze_norms(frozen_norms)
        with unmoved(space.norms.values()):
            yield
    finally:
        space.freeze_norms(False)
        space.draws = True
        space.set_mode(mode)
        space.train(training)
