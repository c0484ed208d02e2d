"""Which passes a tensor takes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from spaces.passes.eager import Eager
from spaces.passes.kernels import kernels
from spaces.passes.library import Library, library
from spaces.passes.memory import takes, takes_vector
from spaces.passes.passes import Passes

EAGER = Eager()
SLOWER = {"cpu": ", a fifth slower than compiled passes", "cuda": " and no kernels of Triton"}
PLAIN = (Tensor, nn.Parameter)
_only_eager = False


def passes_for(x: Tensor, *vectors: Tensor | None) -> Passes:
    """Those of its device, where these are to be had and take all tensors; else those of torch's operators.

    Args:
        vectors: what meets x, of no or one dimension.
    """
    if _only_eager or not takes(x):
        return EAGER
    for vector in vectors:
        if vector is not None and not takes_vector(vector, x.device):
            return EAGER
    made = passes_of(x.device).passes
    return EAGER if made is None else made


def passes_for_weights(weights: Sequence[Tensor]) -> Passes:
    """Those that take the weights of some layers on one device."""
    if _only_eager or not all(type(w) in PLAIN and w.dtype is torch.float32 for w in weights):
        return EAGER
    made = passes_of(weights[0].device).passes
    return EAGER if made is None or not sum(w.numel() for w in weights) else made


def passes_of(device: torch.device) -> Library:
    """Those that are made for a kind of device: in C for a CPU, in Triton for a GPU. Others have none."""
    if device.type == "cpu":
        return library()
    return kernels(device) if device.type == "cuda" else Library(None, f"there are no others for {device.type}")


def why_slower(device: torch.device) -> str:
    """What to tell a user whose training takes torch's operators where there could be others. Empty: nothing."""
    if device.type not in SLOWER or passes_of(device).passes is not None:
        return ""
    return f"training takes torch's operators{SLOWER[device.type]}: {passes_of(device).why}"


@contextmanager
def only_eager() -> Iterator[None]:
    """Inside it all tensors take torch's operators."""
    global _only_eager
    before, _only_eager = _only_eager, True
    try:
        yield
    finally:
        _only_eager = before
