"""Choices of images, drawn by a fixed seed: each class keeps its share, or whole groups stay together."""

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


def drawn(examples: int, count: int) -> tuple[Tensor, Tensor]:
    """Chooses `count` of so many examples at random, as `stratified` does of one class."""
    return stratified(torch.zeros(examples, dtype=torch.int64), count)


def grouped(groups: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Chooses whole groups, in a random order, until about `count` examples are chosen: one group at least.

    Args:
        groups: (N,), int64, the group of each example; two at least.

    Returns:
        The chosen indices and the others, both ascending.
    """
    names, sizes = groups.unique(return_counts=True)
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(SPLIT_SEED)).tolist()
    chosen, taken = list[int](), 0
    for place in order[:-1]:  # one is left at least
        if chosen and taken + int(sizes[place]) / 2 > count:
            break
        chosen.append(int(names[place]))
        taken += int(sizes[place])
    inside = torch.isin(groups, torch.tensor(chosen))
    return inside.nonzero().squeeze(1), (~inside).nonzero().squeeze(1)


def _quotas(sizes: Tensor, count: int) -> list[int]:
    """How many images each class gets, by the largest remainder; they sum to count. sizes: (n_classes,), int64."""
    products = sizes * count
    seats = products // sizes.sum()
    largest = (products % sizes.sum()).argsort(descending=True, stable=True)
    seats[largest[: count - int(seats.sum())]] += 1
    return [int(seat) for seat in seats]
