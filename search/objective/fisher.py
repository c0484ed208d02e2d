"""What a decision would hurt, to second order.

Near an optimum the gradient of a gate says nothing: it is gamma dL/dgamma + beta dL/dbeta of a trained channel, zero
but for noise, whether the channel matters or not. The loss that closing it would cost is L(0) - L(1) ~ -g + H / 2, and
H is the variance of that noise: the empirical Fisher information, batch size times E[g^2] (Theis et al., "Faster gaze
prediction with dense networks and Fisher pruning", arXiv 1801.05787, eq. 8). The same holds for another precision, with
g the difference of the two options' gradients. So decisions descend the secant g - H / 2 instead of the tangent. This
is for the many small ones, a channel each; what bears on a whole layer is tried, see search.objective.tried_options.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from search import distributed
from spaces.decisions.selection import GATES, Selection

MEMORY = 0.95  # of the running mean over observations


class Curvature:
    """Running E[g^2] for gates and for choices a channel; the terms that go into their gradients."""

    def __init__(self) -> None:
        self.squares: dict[str, Tensor] = {}
        self._watched: dict[str, tuple[Tensor, Tensor]] = {}
        self._batch = 1

    def added(self, selection: Selection, gradients: dict[str, Tensor]) -> dict[str, Tensor]:
        """The cost gradients of the selection's leaves, but for whole choices, with what each change would hurt."""
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
        """After the backward pass: the task's own gradients enter the mean.

        Args:
            batch: samples over which the loss is a mean.
        """
        self._batch = batch
        for name, (root, given) in self._watched.items():
            assert root.grad is not None  # `added` asked for it
            square, task = self.squares[name], distributed.mean_(root.grad - given)
            if name != GATES:  # against the option that is in use
                task = task - (task * root).sum(1, keepdim=True)
            square.lerp_(task.square_(), 1 - MEMORY)
        self._watched = {}

    def hurts(self) -> dict[str, Tensor]:
        """What each change would hurt as far as it is known: of GATES, closing each; of choices the other options."""
        return {name: square * (0.5 * self._batch) for name, square in self.squares.items()}

    def state(self) -> dict[str, Any]:
        return {"squares": self.squares, "batch": self._batch}

    def load(self, state: Mapping[str, Any], device: torch.device) -> None:
        self.squares = {name: square.to(device) for name, square in state["squares"].items()}
        self._batch = state["batch"]
