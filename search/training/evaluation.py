"""How well a network does, and the statistics of its norms."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from search.data.batches import Batches
from search.tasks import Scores, Task
from spaces.blocks.norm import momentum_kept
from spaces.space import Space


class Examples(Protocol):
    """What can be measured on: batches, or batches that are counted as they pass."""

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """(images, targets) of each batch."""

    def raw(self) -> "Examples":
        """The same, with images as they are before they are normalised."""


@torch.no_grad()
def scores_of(space: Space, batches: Examples, task: Task, mode: str, mixed: bool = False) -> Scores:
    """What the space scores on the batches. The space is left as it was.

    Args:
        mixed: whether choices are as in training, soft or under noise. Otherwise each takes its likeliest option.
    """
    scores = task.scores()
    with space.running(mode, training=False):
        for choice in space.choices.values() if mixed else ():
            choice.train()
        for images, targets in batches.epoch(0):
            scores.add(space(images), targets, images)
    return scores


@torch.no_grad()
def mean_loss(space: Space, batches: Sequence[tuple[Tensor, Tensor]], loss: Callable[..., Tensor]) -> float:
    """The mean over batches, (images, targets) each. The device is waited for once.

    Args:
        loss: of outputs, targets and images, ().
    """
    return mean_of(losses_of(space, batches, loss).tolist())


@torch.no_grad()
def losses_of(space: Space, batches: Sequence[tuple[Tensor, Tensor]], loss: Callable[..., Tensor]) -> Tensor:
    """(batches,), the loss of each, as in `mean_loss`. The device is not waited for."""
    return torch.stack([loss(space(images), targets, images) for images, targets in batches])


def mean_of(losses: Sequence[float]) -> float:
    """The mean of the losses of batches, in float64."""
    return float(sum(losses) / len(losses))


@torch.no_grad()
def reestimate_norms(space: Space, batches: Batches, count: int = 30) -> None:
    """Estimates the statistics of all norms anew, as means over some batches. Deciding has changed what norms see."""
    norms = space.norms.values()
    with space.running(training=True), momentum_kept(norms):
        for i, (images, _) in zip(range(count), batches.epoch(0), strict=False):
            for norm in norms:
                norm.momentum = 1.0 / (i + 1)
            space(images)
