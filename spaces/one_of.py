"""`OneOf`: alternatives that users put into their own network; a search picks one."""

from collections.abc import Sequence

from torch import Tensor, fx, nn

from search.errors import UsageError


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
        UsageError: fewer than two.
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
