"""What a decision would hurt, to second order.

Near an optimum the gradient of a gate says nothing: it is gamma dL/dgamma + beta dL/dbeta of a trained channel, zero
but for noise, whether the channel matters or not. The loss that closing it would cost is L(0) - L(1) ~ -g + H / 2, and
H is the variance of that noise: the empirical Fisher information, batch size times E[g^2] (Theis et al., "Faster gaze
prediction with dense networks and Fisher pruning", arXiv 1801.05787, eq. 8). The same holds for another precision, with
g the difference of the two options' gradients. So decisions descend the secant g - H / 2 instead of the tangent.
"""

import torch
from torch import Tensor

from search import distributed
from spaces.blocks import Selection

MEMORY = 0.95  # of the running mean over observations


class Curvature:
    """Running E[g^2] for the vector of gates and for every layer's shares; the terms that go into their gradients."""

    def __init__(self) -> None:
        self.squares: list[Tensor] = []
        self._watched: list[tuple[Tensor, Tensor, bool]] = []
        self._compared: list[int | None] = []
        self._batch = 1

    def added(self, selection: Selection, roots: list[Tensor], gradients: list[Tensor]) -> list[Tensor]:
        """The cost gradients of the roots, with what each change would hurt."""
        kinds = [root is selection.alpha for root in roots]
        if len(self.squares) != len(roots):
            self.squares = [torch.zeros_like(root) for root in roots]
        given = [
            gradient - self._half(s) * root.detach() if is_gate else gradient + self._half(s)
            for root, gradient, s, is_gate in zip(roots, gradients, self.squares, kinds, strict=True)
        ]
        for root in roots:
            root.retain_grad()
        self._watched = list(zip(roots, given, kinds, strict=True))
        paths = [selection.paths.get(name) for name in selection.share]
        second = [path[1] if path and len(path) > 1 else None for path in paths]
        self._compared = [None] * (len(roots) - len(second)) + second
        return given

    def _half(self, squares: Tensor) -> Tensor:
        return squares * (0.5 * self._batch)

    @torch.no_grad()
    def observe(self, batch: int) -> None:
        """After the backward pass: the task's own gradients enter the mean.

        Args:
            batch: samples over which the loss is a mean.
        """
        self._batch = batch
        for square, compared, (root, given, is_gate) in zip(self.squares, self._compared, self._watched, strict=True):
            task = distributed.mean_(root.grad - given)
            if not is_gate:  # against the option that is in use
                task = task - (task * root).sum(1, keepdim=True)
            task.square_()
            if compared is not None:  # of branches but one was run beside the drawn one
                square, task = square[:, compared], task[:, compared]
            square.lerp_(task, 1 - MEMORY)
        self._watched, self._compared = [], []

    def state(self) -> dict:
        return {"squares": self.squares, "batch": self._batch}

    def load(self, state: dict, device: torch.device) -> None:
        self.squares = [square.to(device) for square in state["squares"]]
        self._batch = state["batch"]
