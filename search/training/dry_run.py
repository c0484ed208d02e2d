"""Passes of a space that only look."""

from collections.abc import Iterator
from contextlib import contextmanager

from spaces.blocks.norm import frozen, unmoved
from spaces.space import FAKE, Space


@contextmanager
def watched(space: Space, frozen_norms: bool = False) -> Iterator[None]:
    """The space in training, but its passes leave no trace: nothing is drawn, norms keep their running statistics.

    Args:
        frozen_norms: they normalise by these, not by the batch's.
    """
    norms = space.norms.values()
    with space.running(FAKE, training=True, draws=False), frozen(norms, frozen_norms), unmoved(norms):
        yield
