"""The places of a tensor that a convolution of one tap with a stride reads, as in the shortcut of a residual network.

The gradient of all other places is 0. Where other convolutions read the tensor too, it is not written: theirs is
taken as it is, and at a few places something is added.
"""

from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from spaces.autograd import applied, applied_for_many
from spaces.blocks.block import Block

Places = tuple[slice, ...]
CONVOLUTION = "conv"


def places_of(block: Block) -> Places | None:
    """What the block reads of its input, (N, C, ...); None: it is no convolution that leaves out places."""
    a = block.spec.attributes
    if block.spec.op != CONVOLUTION or block.weights is None or block.weights.spec.shape[2:] != (1,) * len(a["stride"]):
        return None
    if max(a["stride"]) == 1 or any(map(any, a["padding"])):
        return None
    return every(a["stride"])


def every(stride: Sequence[int]) -> Places:
    """Of (N, C, ...)."""
    return slice(None), slice(None), *(slice(None, None, step) for step in stride)


def shared_places(blocks: Sequence[Block], outputs: Collection[str]) -> dict[str, Places]:
    """Tensors that convolutions alone read, some of them the same few places and others all of it.

    The gradients of convolutions are new tensors, so that they may be added to. That of an output comes from elsewhere.
    """
    readers: dict[str, list[Block]] = {b.name: [] for b in blocks if not b.loop and b.name not in outputs}
    for block in blocks:
        for name in block.spec.inputs:
            readers.get(name, []).append(block)
    found = {}
    for name, those in readers.items():
        each = [places_of(block) for block in those]
        few = [places for places in each if places is not None]
        alone = all(block.spec.op == CONVOLUTION and not block.loop for block in those)
        if alone and 0 < len(few) < len(each) and all(places == few[0] for places in few):
            found[name] = few[0]
    return found


def at_places(x: Tensor, places: Places) -> Tensor:
    """x[places], in memory of its own."""
    return applied(_Places, x, places)


def with_places(x: Tensor, places: Places) -> tuple[Tensor, Tensor]:
    """x, and x[places] in memory of its own. What reads the first one has to give a gradient that is its own.

    The gradient of the second one is added to that gradient where it lies, so a hook that keeps it sees both.
    """
    whole, few = applied_for_many(_WithPlaces, x, places)
    return whole, few


class _Places(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, places: Places) -> Tensor:
        ctx.places, ctx.shape = places, x.shape
        return _copied(x, places)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _zero_elsewhere(grad, ctx.places, ctx.shape), None


class _WithPlaces(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, places: Places) -> tuple[Tensor, Tensor]:
        ctx.places, ctx.shape = places, x.shape
        ctx.set_materialize_grads(False)
        return x.view_as(x), _copied(x, places)

    @staticmethod
    def backward(ctx: Any, whole: Tensor | None, few: Tensor | None) -> tuple[Tensor | None, None]:
        if whole is None or few is None:
            return whole if few is None else _zero_elsewhere(few, ctx.places, ctx.shape), None
        whole[ctx.places].add_(few)
        return whole, None


def _copied(x: Tensor, places: Places) -> Tensor:
    return x[places].contiguous(memory_format=_order(x))


def _zero_elsewhere(grad: Tensor, places: Places, shape: torch.Size) -> Tensor:
    dx = torch.empty(shape, dtype=grad.dtype, device=grad.device, memory_format=_order(grad)).zero_()
    dx[places] = grad
    return dx


def _order(x: Tensor) -> torch.memory_format:
    return torch.channels_last if x.dim() == 4 else torch.contiguous_format
