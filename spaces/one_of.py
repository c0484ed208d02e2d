"""`OneOf`: alternatives that users put into their own network, of which a search picks one."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from search.errors import UsageError


@torch.library.custom_op("picojoule::one_of", mutates_args=())
def meet(alternatives: Sequence[Tensor]) -> Tensor:
    """Marks in an exported graph where alternatives meet. It gives the first of them."""
    return alternatives[0].clone()


@meet.register_fake
def _(alternatives: Sequence[Tensor]) -> Tensor:
    return torch.empty_like(alternatives[0])


class OneOf(nn.Module):
    """One of several blocks that take the same tensor and give tensors of one shape.

    nn.Identity among them makes depth a choice. By itself it is its first alternative. In a Space each alternative is
    trained on the batches for which it is drawn, and the search learns which one is best. The channels of all outputs
    are tied, so they are pruned together.

    Args:
        alternatives: the blocks. They may share submodules.

    Attributes:
        pick: the alternative that runs.
        traced: whether all run, and a mark is left where they meet.

    Raises:
        UsageError: there are fewer than two.
    """

    def __init__(self, alternatives: Sequence[nn.Module]) -> None:
        super().__init__()
        if len(alternatives) < 2:
            raise UsageError(f"OneOf: {len(alternatives)} alternatives; two or more make a choice.")
        self.alternatives = nn.ModuleList(alternatives)
        self.pick, self.traced = 0, False

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor
        if self.traced:
            made = meet([alternative(x) for alternative in self.alternatives])
        else:
            made = self.alternatives[self.pick](x)
        return made
