"""What a change of a decision would do to the loss, to second order (docs/methods.md, section 10).

Near an optimum the gradient of a gate says nothing. It is gamma dL/dgamma + beta dL/dbeta of a trained channel, which
is zero but for noise, whether the channel matters or not. The loss that closing it would cost is L(0) - L(1) ~ -g + H /
2, and H is the variance of that noise: the empirical Fisher information, batch size times E[g^2] (Theis et al., "Faster
gaze prediction with dense networks and Fisher pruning", arXiv 1801.05787, eq. 8). Of the two, g is noise, and H / 2 is
what is left in the mean. The same holds for a precision, where g is the difference between its gradient and that of the
highest one. This is for the many small decisions, one for each channel. Options that bear on a whole layer are tried,
see search.objective.tried_options.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from search import distributed
from search.files.tensors import TENSOR
from search.kinds import COUNT, by_name, having
from spaces.decisions.selection import GATES, Selection

MEMORY = 0.95  # of the running mean over observations
STATE = having({"squares": by_name(TENSOR), "batch": COUNT, "seen": by_name(COUNT)})


class FisherInformation:
    """The running mean E[g^2] of all gates and of the choices for each channel.

    Attributes:
        squares: leaf of a selection -> E[g^2], of its shape. For GATES, g is the gradient of the gate; for a choice, of
            the option's share less that of the last option, the highest precision.
    """

    def __init__(self) -> None:
        self.squares: dict[str, Tensor] = {}
        self._watched: dict[str, Tensor] = {}
        self._seen: dict[str, int] = {}
        self._batch = 1

    def watch(self, selection: Selection) -> None:
        """Has the backward pass keep the gradients of the selection's leaves. To be called before it."""
        self._watched = {name: leaf for name, leaf in selection.leaves().items() if name not in selection.whole}
        for leaf in self._watched.values():
            leaf.retain_grad()

    @torch.no_grad()
    def observe(self, batch: int) -> None:
        """Takes the gradients of the last backward pass into the mean.

        Args:
            batch: number of samples over which the loss is a mean.
        """
        self._batch = batch
        forms: dict[torch.Size, dict[str, Tensor]] = {}
        for name, leaf in self._watched.items():
            if leaf.grad is not None:  # else all that it bears on is in branches that did not run
                forms.setdefault(leaf.shape[1:], {})[name] = leaf.grad
        for gradients in forms.values():
            self._take(gradients)
        self._watched = {}

    def _take(self, gradients: Mapping[str, Tensor]) -> None:
        """Takes the gradients of leaves with the same options into the mean."""
        together = distributed.mean_(torch.cat(list(gradients.values())))
        if GATES not in gradients:
            together = together - together[:, -1:]
        new = {name: torch.zeros_like(gradient) for name, gradient in gradients.items() if name not in self.squares}
        self.squares |= new
        squares = [self.squares[name] for name in gradients]
        torch._foreach_lerp_(squares, together.square().split([len(square) for square in squares]), 1 - MEMORY)
        self._seen |= {name: self._seen.get(name, 0) + 1 for name in gradients}

    def loss_increases(self) -> dict[str, Tensor]:
        """H / 2 of each leaf that was observed: the loss that closing each gate adds, or each option of a choice."""
        if not self.squares:
            return {}
        known = {name: 1 - MEMORY**seen for name, seen in self._seen.items()}  # the means began at 0
        factors = [0.5 * self._batch / known[name] for name in self.squares]
        return dict(zip(self.squares, torch._foreach_mul(list(self.squares.values()), factors), strict=True))

    def state(self) -> dict[str, Any]:
        return {"squares": self.squares, "batch": self._batch, "seen": self._seen}

    def load(self, state: Mapping[str, Any], device: torch.device) -> None:
        self.squares = {name: square.to(device) for name, square in state["squares"].items()}
        self._batch, self._seen = state["batch"], state["seen"]
