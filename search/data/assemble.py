"""From raw splits to Data: they are checked, missing ones are carved out of train, and mean and std are measured."""

import logging
from collections.abc import Iterator

import torch
from torch import Tensor

from search.data.checks import check_split, check_together
from search.data.data import PIXEL_MAX, Data, DataError, Split
from search.data.splits import SPLIT_SEED, stratified

TEST_SHARE = 0.2  # of the training images, where a data set comes without a test split
VAL_SHARE = 0.1  # of the training images that then remain, where it comes without a validation split
CHUNK = 256  # images a step while measuring, to bound memory

log = logging.getLogger(__name__)


def assemble(
    name: str, place: str, splits: dict[str, Split], classes: tuple[str, ...], train_images: int | None = None
) -> Data:
    """Checks the splits and completes them.

    A missing test or validation split is carved out of train: stratified, by a fixed seed. The log says so.

    Args:
        name: name of the data set.
        place: where the data came from, as errors should name it.
        splits: "train" and, where they exist, "val" and "test".
        classes: the names of labels 0, 1, ...
        train_images: how many training images are kept, stratified; None: all.

    Raises:
        DataError: the data cannot be used.
    """
    for key, split in splits.items():
        check_split(f"{place}, split '{key}'", split, classes)
    splits = _carve(place, _carve(place, splits, "test", TEST_SHARE), "val", VAL_SHARE)
    if train_images is not None:
        splits = {**splits, "train": _subset(place, splits["train"], train_images)}
    check_together(place, splits, classes)
    mean, std = _mean_and_std(splits["train"].images)
    return Data(
        name=name,
        train=splits["train"],
        val=splits["val"],
        test=splits["test"],
        classes=classes,
        mean=mean,
        std=std,
    )


def _carve(place: str, splits: dict[str, Split], name: str, share: float) -> dict[str, Split]:
    """The splits with one called name, taken from train where there was none."""
    if name in splits:
        return splits
    train = splits["train"]
    count = max(1, round(share * len(train)))
    if count >= len(train):
        raise DataError(
            f"{place}: no split '{name}', and {len(train)} training image(s) are too few to carve one; "
            "add images or the split."
        )
    chosen, rest = stratified(train.labels, count)
    log.info("%s: no split '%s'; carved %d of %d training images, seed %d", place, name, count, len(train), SPLIT_SEED)
    return {**splits, "train": train.take(rest), name: train.take(chosen)}


def _subset(place: str, train: Split, count: int) -> Split:
    if not 1 <= count <= len(train):
        raise DataError(
            f"{place}: train_images is {count}, but split 'train' has {len(train)} images; "
            f"allowed are 1..{len(train)}, or null for all. Change train_images."
        )
    chosen, _ = stratified(train.labels, count)
    return train.take(chosen)


def _mean_and_std(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Of each channel, in float64. It takes two passes: a difference of squares loses digits. images: (N, C, *size)."""
    count = images.numel() // images.shape[1]
    zero = images.new_zeros(images.shape[1], dtype=torch.float64)
    mean = sum((chunk.sum(dim=1) for chunk in _chunks(images)), zero) / count
    squares = sum(((chunk - mean[:, None]).square().sum(dim=1) for chunk in _chunks(images)), zero)
    std = (squares / count).sqrt()
    unit = PIXEL_MAX if images.dtype == torch.uint8 else 1
    std = torch.where(std == 0, 1.0, std / unit)
    return tuple((mean / unit).tolist()), tuple(std.tolist())


def _chunks(images: Tensor) -> Iterator[Tensor]:
    """A few images at a time as (C, n * size), float64."""
    for chunk in images.split(CHUNK):
        yield chunk.transpose(0, 1).flatten(1).double()
