"""`OneOf`: alternatives that users put into their own network; a search picks one."""

from collections.abc import Sequence

import torch
from torch import Tensor, fx, nn


class Select(nn.Module):
    """Marks in a traced graph where alternatives meet; runs as the one that is picked."""

    pick = 0

    def forward(self, *alternatives: Tensor) -> Tensor:
        return alternatives[self.pick]


class OneOf(nn.Module):
    """One of several blocks that take the same tensor and give tensors of one shape.

    nn.Identity among them makes depth a choice. As it stands, by itself, it is its first alternative; in a Space each
    is trained on the batches for which it is drawn, and the search learns which one is best. Channels of all outputs
    are tied: they are pruned together.

    Args:
        alternatives: blocks; they may share submodules.

    Raises:
        ValueError: fewer than two.
    """

    def __init__(self, alternatives: Sequence[nn.Module]) -> None:
        super().__init__()
        if len(alternatives) < 2:
            raise ValueError(f"OneOf: {len(alternatives)} alternatives; two or more make a choice.")
        self.alternatives = nn.ModuleList(alternatives)
        self.select = Select()

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(x, fx.Proxy):
            return self.select(*[alternative(x) for alternative in self.alternatives])
        return self.alternatives[self.select.pick](x)


class _Picked(torch.autograd.Function):
    """The drawn path's output; the shares of the two paths that were run get <grad, output>.

    The other options get the mean of the two, weighed with their probabilities: then the softmax behind the shares
    moves neither towards them nor away (two paths as in ProxylessNAS, arXiv 1812.00332, section 3.3).
    """

    @staticmethod
    def forward(ctx, share: Tensor, probability: Tensor, first: Tensor, second: Tensor, paths: tuple[int, int]):
        ctx.save_for_backward(share, probability, first, second)
        ctx.paths = paths
        return first.view_as(first)

    @staticmethod
    def backward(ctx, grad: Tensor):
        share, probability, first, second = ctx.saved_tensors
        i, j = ctx.paths
        gains = torch.stack([(grad * first).sum(), (grad * second).sum()])
        weights = probability[0, [i, j]]
        d_share = ((gains * weights).sum() / weights.sum()).expand_as(share).clone()
        d_share[0, i], d_share[0, j] = gains
        return d_share, None, grad, None, None


def picked(share: Tensor, probability: Tensor, first: Tensor, second: Tensor, paths: tuple[int, int]) -> Tensor:
    """`first`, the output of option paths[0], with gradients for the (1, n) share from `second`, that of paths[1]."""
    return _Picked.apply(share, probability, first, second, paths)
