"""`OneOf`: alternatives that users put into their own network, of which a search picks one."""

from collections.abc import Sequence

from torch import Tensor, fx, nn

from search.errors import UsageError


class Select(nn.Module):
    """Marks in a traced graph where alternatives meet. It runs as the alternative that is picked."""

    pick = 0

    def forward(self, *alternatives: Tensor) -> Tensor:
        return alternatives[self.pick]


class OneOf(nn.Module):
    """One of several blocks that take the same tensor and give tensors of one shape.

    nn.Identity among them makes depth a choice. By itself it is its first alternative. In a Space each alternative is
    trained on the batches for which it is drawn, and the search learns which one is best. The channels of all outputs
    are tied, so they are pruned together.

    Args:
        alternatives: the blocks. They may share submodules.

    Raises:
        UsageError: there are fewer than two.
    """

    def __init__(self, alternatives: Sequence[nn.Module]) -> None:
        super().__init__()
        if len(alternatives) < 2:
            raise UsageError(f"OneOf: {len(alternatives)} alternatives; two or more make a choice.")
        self.alternatives = nn.ModuleList(alternatives)
        self.select = Select()

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor
        if isinstance(x, fx.Proxy):
            made = self.select(*[alternative(x) for alternative in self.alternatives])
        else:
            made = self.alternatives[self.select.pick](x)
        return made
