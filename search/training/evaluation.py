"""What a network is worth, and what its norms see."""

import torch

from search import distributed
from search.data.batches import Batches
from spaces.space import Space


@torch.no_grad()
def accuracy(space: Space, batches: Batches, device: torch.device, mode: str, mixed: bool = False) -> float:
    """Share of right answers, 0..1, over all processes.

    Args:
        mixed: choices are as in training, soft or under noise; else the argmax.
    """
    training, before = space.training, space.mode
    space.eval()
    for choice in space.choices.values() if mixed else ():
        choice.train()
    space.set_mode(mode)
    right, seen = 0, 0
    for images, labels in batches.epoch(0):
        right += int((space(images).argmax(1) == labels).sum())
        seen += len(labels)
    space.train(training)
    space.set_mode(before)
    right, seen = distributed.summed([right, seen], device)
    return right / seen


@torch.no_grad()
def reestimate_norms(space: Space, batches: Batches, count: int = 30) -> None:
    """Statistics of all norms anew, as means over some batches: deciding has changed what they see."""
    momenta = {norm: norm.momentum for norm in space.norms.values()}
    space.train()
    for i, (images, _) in zip(range(count), batches.epoch(0), strict=False):
        for norm in momenta:
            norm.momentum = 1.0 / (i + 1)
        space(images)
    for norm, momentum in momenta.items():
        norm.momentum = momentum
