"""Which passes a tensor takes."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

from spaces.passes.compiled import takes, takes_vector
from spaces.passes.eager import Eager
from spaces.passes.library import library
from spaces.passes.passes import Passes

EAGER = Eager()
_only_eager = False


def passes_for(x: Tensor, *vectors: Tensor | None) -> Passes:
    """Those in C, where these are to be had and take all tensors; else those of torch's operators.

    Args:
        vectors: what meets x, of no or one dimension.
    """
    if _only_eager or not takes(x) or any(v is not None and not takes_vector(v) for v in vectors):
        return EAGER
    made = library().passes
    return EAGER if made is None else made


@contextmanager
def only_eager() -> Iterator[None]:
    """Inside it all tensors take torch's operators."""
    global _only_eager
    before, _only_eager = _only_eager, True
    try:
        yield
    finally:
        _only_eager = before
