"""The loss increase of a change of a decision, to second order (docs/methods.md, section 10).

Near an optimum the gradient of a gate says nothing. It is gamma dL/dgamma + beta dL/dbeta of a trained channel, which
is zero but for noise, whether the channel matters or not. The loss that closing it would cost is L(0) - L(1) ~ -g + H /
2, and H is the variance of that noise: the empirical Fisher information, batch size times E[g^2] (Theis et al., "Faster
gaze prediction with dense networks and Fisher pruning", arXiv 1801.05787, eq. 8). The same holds for another precision,
where g is the difference of the two options' gradients. So decisions descend the secant g - H / 2 in place of the
tangent. This is for the many small decisions, one for each channel. Options that bear on a whole layer are tried, see
search.objective.tried_options.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from search import distributed
from spaces.decisions.selection import GATES, Selection

MEMORY = 0.95  # of the running mean over observations


class FisherInformation:
    """The running mean E[g^2] of gates and of choices for each channel, and what it adds to their gradients."""

    def __init__(self) -> None:
        self.squares: dict[str, Tensor] = {}
        self._watched: dict[str, tuple[Tensor, Tensor]] = {}
        self._batch = 1

    def added(self, selection: Selection, gradients: dict[str, Tensor]) -> dict[str, Tensor]:
        """The gradients of the costs and of loss increases, for all leaves but those of whole choices."""
        given = {}
        for name, root in selection.leaves().items():
            if name in selection.whole:
                continue
            half = self.squares.setdefault(name, torch.zeros_like(root)) * (0.5 * self._batch)
            given[name] = gradients[name] - half * root.detach() if name == GATES else gradients[name] + half
            root.retain_grad()
            self._watched[name] = root, given[name]
        return given

    @torch.no_grad()
    def observe(self, batch: int) -> None:
        """Takes the task's own gradients into the mean. To be called after the backward pass.

        Args:
            batch: number of samples over which the loss is a mean.
        """
        self._batch = batch
        for name, (root, given) in self._watched.items():
            assert root.grad is not None  # `added` asked for it
            square, task = self.squares[name], distributed.mean_(root.grad - given)
            if name != GATES:  # against the option that is in use
                task = task - (task * root).sum(1, keepdim=True)
            square.lerp_(task.square_(), 1 - MEMORY)
        self._watched = {}

    def loss_increases(self) -> dict[str, Tensor]:
        """The loss increases of closing a channel (GATES) and of other options of choices, as far as they are known."""
        return {name: square * (0.5 * self._batch) for name, square in self.squares.items()}

    def state(self) -> dict[str, Any]:
        return {"squares": self.squares, "batch": self._batch}

    def load(self, state: Mapping[str, Any], device: torch.device) -> None:
        self.squares = {name: square.to(device) for name, square in state["squares"].items()}
        self._batch = state["batch"]
