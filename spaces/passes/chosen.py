"""Which passes a tensor takes."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

from spaces.passes.compiled import takes
from spaces.passes.eager import Eager
from spaces.passes.library import library
from spaces.passes.passes import Passes

EAGER = Eager()
_only_eager = False


def passes_for(x: Tensor) -> Passes:
    """Those in C, where x is on a CPU and these are to be had; else those of torch's operators."""
    if not _only_eager and takes(x) and (made := library().passes) is not None:
        return made
    return EAGER


@contextmanager
def only_eager() -> Iterator[None]:
    """Inside it all tensors take torch's operators."""
    global _only_eager
    before, _only_eager = _only_eager, True
    try:
        yield
    finally:
        _only_eager = before
