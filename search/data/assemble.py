"""From raw splits to Data: they are checked, missing ones are carved out of train, and mean and std are measured."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from math import isfinite

import torch
from torch import Tensor

from search.data.checks import check_split, check_together
from search.data.data import ANOMALIES, LABELS, Data, DataError, Split
from search.data.sound import refuse_masks, with_features
from search.data.splits import SPLIT_SEED, drawn, grouped, stratified
from search.integer.frontend import FrontEnd
from search.integer.preprocessing import FIRST, PIXEL_MAX

TEST_SHARE = 0.2  # of the training images, where a data set comes without a test split
VAL_SHARE = 0.1  # of the training images that then remain, where it comes without a validation split
CHUNK = 256  # images a step while measuring, to bound memory


def assemble(
    name: str,
    place: str,
    splits: dict[str, Split],
    classes: tuple[str, ...],
    train_images: int | None = None,
    *,
    targets: str = LABELS,
    groups: Mapping[str, Tensor] | None = None,
    channels: str = FIRST,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    frontend: FrontEnd | None = None,
) -> Data:
    """Checks the splits and completes them.

    A missing test or validation split is carved out of train by a fixed seed: of labels stratified, and where there are
    groups, whole ones. The data's notes say so.

    Args:
        name: name of the data set.
        place: where the data came from, as errors should name it.
        splits: "train" and, where they exist, "val" and "test".
        classes: the names of labels 0, 1, ..., or of numbers and tags.
        targets: what they are, one of search.data.targets.KINDS.
        groups: split -> (N,), int64, who or what each example comes from; no group may be in two splits.
        train_images: how many training images are kept, stratified; None: all.
        channels: where an example had its channels, see search.integer.preprocessing.
        mean, std: by which images are normalised, one number or one for each channel, of images / 255 where they are
            uint8; None: those of the training images. uint8 images of several channels then have one mean, which is
            the value of a pixel, and one std, so that a program can read pixels as they are.
        frontend: from sound to the features that become the images, which mean and std are then of. The splits hold
            sound, (N, 1, T), in the whole numbers of int16. None: images stay as they are.

    Raises:
        DataError: the data cannot be used.
    """
    for key, split in splits.items():
        check_split(f"{place}, split '{key}'", split, classes, targets)
    owners = dict(groups or {})
    refuse_shared_groups(place, owners)
    notes: list[str] = []
    for key, share in (("test", TEST_SHARE), ("val", VAL_SHARE)):
        if key not in splits:
            splits, note = _carve(place, splits, key, share, targets, owners)
            notes.append(note)
    if train_images is not None:
        splits = {**splits, "train": _subset(place, splits["train"], train_images, targets)}
    check_together(place, splits, classes, targets)
    if frontend is not None:
        refuse_masks(place, targets)
        frontend, splits = with_features(frontend, splits)
        channels = FIRST
        notes.append(f"{place}: the network reads {frontend.about()}")
    measured = _mean_and_std(splits["train"].images)
    count = splits["train"].images.shape[1]
    return Data(
        name=name,
        train=splits["train"],
        val=splits["val"],
        test=splits["test"],
        classes=classes,
        mean=measured[0] if mean is None else _given(place, "mean", mean, count),
        std=measured[1] if std is None else _given(place, "std", std, count),
        channels=channels,
        targets=targets,
        notes=tuple(notes),
        frontend=frontend,
    )


def refuse_shared_groups(place: str, groups: Mapping[str, Tensor]) -> None:
    """Raises DataError where a group is in two splits: what is measured there would be known from training."""
    for (one, first), (other, second) in combinations(groups.items(), 2):
        shared = sorted(set(first.tolist()) & set(second.tolist()))
        if shared:
            raise DataError(
                f"{place}: groups {shared[:5]} ({len(shared)} in all) are in split '{one}' and in split '{other}'; a "
                "subject, speaker or machine belongs to one split alone. Move its examples."
            )


def _carve(
    place: str, splits: dict[str, Split], name: str, share: float, kind: str, groups: dict[str, Tensor]
) -> tuple[dict[str, Split], str]:
    """The splits with one called name, taken from train, and a note on that. Groups are parted in the same way."""
    train = splits["train"]
    count = max(1, round(share * len(train)))
    if count >= len(train):
        raise DataError(
            f"{place}: no split '{name}', and {len(train)} training image(s) are too few to carve one; "
            "add images or the split."
        )
    if kind == ANOMALIES:
        raise DataError(
            f"{place}: no split '{name}'; it cannot be carved out of training images, which hold no anomaly. Add "
            "the split."
        )
    by = ""
    if "train" in groups:
        own = groups["train"]
        if len(own.unique()) < 2:
            raise DataError(f"{place}: no split '{name}', and one group alone to carve it from; add the split.")
        chosen, rest = grouped(own, count)
        groups |= {"train": own[rest], name: own[chosen]}
        by = f" of groups {sorted(set(groups[name].tolist()))},"
    else:
        chosen, rest = _chosen(train, count, kind)
    note = f"{place}: no split '{name}'; carved {len(chosen)} of {len(train)} training images,{by} seed {SPLIT_SEED}"
    return {**splits, "train": train.take(rest), name: train.take(chosen)}, note


def _chosen(train: Split, count: int, kind: str) -> tuple[Tensor, Tensor]:
    return stratified(train.targets, count) if kind == LABELS else drawn(len(train), count)


def _subset(place: str, train: Split, count: int, kind: str) -> Split:
    if not 1 <= count <= len(train):
        raise DataError(
            f"{place}: train_images is {count}, but split 'train' has {len(train)} images; "
            f"allowed are 1..{len(train)}, or null for all. Change data.train_images."
        )
    chosen, _ = _chosen(train, count, kind)
    return train.take(chosen)


def _given(place: str, key: str, values: Sequence[float], channels: int) -> tuple[float, ...]:
    """A mean or deviation for each channel. Raises DataError where there are others, or a deviation is not over 0."""
    each = tuple(float(value) for value in values)
    if len(each) not in (1, channels) or not all(map(isfinite, each)) or (key == "std" and min(each) <= 0):
        allowed = f"one finite number, or one for each of {channels} channels" + (", over 0" if key == "std" else "")
        raise DataError(f"{place}: {key} is {list(each)}; allowed is {allowed}. Change data.{key}, or leave it out.")
    return each * (channels if len(each) == 1 else 1)


def _mean_and_std(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Of each channel, in float64. It takes two passes: a difference of squares loses digits. images: (N, C, *size)."""
    count = images.numel() // images.shape[1]
    zero = images.new_zeros(images.shape[1], dtype=torch.float64)
    mean = sum((chunk.sum(dim=1) for chunk in _chunks(images)), zero) / count
    squares = sum(((chunk - mean[:, None]).square().sum(dim=1) for chunk in _chunks(images)), zero)
    variance = squares / count
    if images.dtype == torch.uint8:
        pixel = mean.mean().round()
        variance = (variance + (mean - pixel).square()).mean().expand_as(mean) / PIXEL_MAX**2
        mean = (pixel / PIXEL_MAX).expand_as(mean)
    return tuple(mean.tolist()), tuple(torch.where(variance == 0, 1.0, variance.sqrt()).tolist())


def _chunks(images: Tensor) -> Iterator[Tensor]:
    """A few images at a time as (C, n * size), float64."""
    for chunk in images.split(CHUNK):
        yield chunk.transpose(0, 1).flatten(1).double()
