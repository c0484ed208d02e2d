"""Stratified choices of images: each class keeps its share, and a fixed seed draws the images."""

import torch
from torch import Tensor

from search.errors import UsageError

SPLIT_SEED = 0  # one for all: a split must not change with the seed of a run


def stratified(labels: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Chooses `count` images so that each class keeps its share, to within one image.

    Args:
        labels: (N,), int64, not negative.
        count: how many to choose, 1..N.

    Returns:
        The chosen indices (count,) and the others (N - count,), both ascending.

    Raises:
        UsageError: count is not in 1..N.
    """
    if not 1 <= count <= len(labels):
        raise UsageError(f"cannot choose {count} of {len(labels)} images; choose 1 to {len(labels)}.")
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(SPLIT_SEED))
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    for label, quota in enumerate(_quotas(torch.bincount(labels), count)):
        chosen[order[labels[order] == label][:quota]] = True
    return chosen.nonzero().squeeze(1), (~chosen).nonzero().squeeze(1)


def _quotas(sizes: Tensor, count: int) -> list[int]:
    """How many images each class gets, by the largest remainder; they sum to count. sizes: (n_classes,), int64."""
    products = sizes * count
    seats = products // sizes.sum()
    largest = (products % sizes.sum()).argsort(descending=True, stable=True)
    seats[largest[: count - int(seats.sum())]] += 1
    return [int(seat) for seat in seats]
