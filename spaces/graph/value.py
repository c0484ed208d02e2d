"""An activation tensor of the user's network."""

from dataclasses import dataclass

from spaces.graph.errors import JoinedBatch
from spaces.graph.view import Shape, View


@dataclass(frozen=True)
class Value:
    """An activation tensor.

    Attributes:
        name: of the stored tensor in which it lies.
        shape: as the user has it, with the batch.
        view: how it lies there; None: as it is.
        label: the call that gave it this view.
    """

    name: str
    shape: Shape
    view: View | None = None
    label: str = ""

    @property
    def seen(self) -> View:
        return self.view or View.ordered(self.shape[1:], range(len(self.shape) - 1))

    @property
    def batch(self) -> int:
        """The axis that is the batch.

        Raises:
            JoinedBatch: it was joined with others.
        """
        batch = self.seen.batch
        if batch is None:
            raise JoinedBatch(
                self.label or self.name,
                "joins the batch with other dimensions.",
                "Each sample is run by itself on the chip: leave the batch alone.",
            )
        return batch

    @property
    def own(self) -> Shape:
        """The shape of one sample, as the user has it."""
        return (*self.shape[: self.batch], *self.shape[self.batch + 1 :])

    @property
    def rank(self) -> int:
        """How many own axes there are."""
        return len(self.shape) - 1
