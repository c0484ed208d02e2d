"""What every data set is checked for when it is loaded. Every check raises DataError with the split and the index."""

import torch
from torch import Tensor

from search.data.data import ANOMALIES, LABELS, MASKS, TAGS, DataError, Split
from search.data.targets import check_targets


def check_split(place: str, split: Split, classes: tuple[str, ...], kind: str = LABELS) -> None:
    """Checks one split by itself: its types, lengths, that targets are in range and that images are finite.

    Args:
        place: the data set and the split, as errors should name them.
        split: any tensors.
        classes: the names of labels 0, 1, ..., or of numbers and tags.
        kind: of the targets.

    Raises:
        DataError: the split cannot be used.
    """
    images = split.images
    if images.dtype not in (torch.uint8, torch.float32) or images.dim() < 3:
        raise DataError(
            f"{place}: images are {images.dtype} {tuple(images.shape)}; allowed are uint8 or float32 of shape "
            "(N, channels, *size). Convert them."
        )
    if images.numel() == 0:
        raise DataError(f"{place}: no images, shape {tuple(images.shape)}; at least one is needed. Add images.")
    check_targets(place, split.targets, kind, classes, images)
    _check_finite(place, images)


def check_together(place: str, splits: dict[str, Split], classes: tuple[str, ...], kind: str = LABELS) -> None:
    """Checks that the splits fit each other and that all of it can be learned.

    Raises:
        DataError: images differ in shape or type from those of training; a class has no training image, or a tag is on
            none or on all; an anomaly is among the training images, or no normal one or no anomaly in another split.
    """
    train = splits["train"]
    for name, split in splits.items():
        found, expected = _kind(split.images), _kind(train.images)
        if found != expected:
            raise DataError(
                f"{place}, split '{name}': images are {found}, those of split 'train' {expected}; "
                "they must agree. Convert one of them."
            )
    if kind == ANOMALIES:
        _check_anomalies(place, splits)
    elif kind == TAGS:
        _check_tags(place, train, classes)
    elif kind in (LABELS, MASKS):
        _check_classes(place, train, classes)


def _check_anomalies(place: str, splits: dict[str, Split]) -> None:
    for name, split in splits.items():
        anomalies = int(split.targets.sum())
        if name == "train" and anomalies:
            index = split.index_where_read(int(split.targets.argmax()))
            raise DataError(
                f"{place}, split 'train': {anomalies} anomalies, the first at index {index}; a network learns what is "
                "normal from normal examples alone. Move them to the test split."
            )
        if name != "train" and not 0 < anomalies < len(split):
            raise DataError(
                f"{place}, split '{name}': {anomalies} anomalies among {len(split)} examples; both kinds are needed to "
                "measure how well they are told apart. Add examples."
            )


def _check_tags(place: str, train: Split, tags: tuple[str, ...]) -> None:
    share = train.targets.mean(0)
    wrong = [tags[i] for i in ((share == 0) | (share == 1)).nonzero().squeeze(1).tolist()]
    if wrong:
        raise DataError(
            f"{place}, split 'train': {_listing(wrong)} ({len(wrong)} of {len(tags)} tags) on no example or on all; "
            "nothing is to be learned of such a tag. Leave it out, or add examples."
        )


def _check_classes(place: str, train: Split, classes: tuple[str, ...]) -> None:
    """Labels, or those at all places of masks."""
    seen = train.targets[(train.targets >= 0) & (train.targets < len(classes))]
    counts = torch.bincount(seen, minlength=len(classes))
    missing = [classes[i] for i in (counts == 0).nonzero().squeeze(1).tolist()]
    if missing:
        largest = int(seen.max()) if len(seen) else -1
        first = (
            int((train.targets == largest).flatten(1 if train.targets.dim() > 1 else 0).nonzero()[0][0])
            if len(seen)
            else 0
        )
        raise DataError(
            f"{place}, split 'train': no image of {_listing(missing)} ({len(missing)} of {len(classes)} classes); "
            f"the largest label is {largest}, at index {train.index_where_read(first)}. "
            "Every class needs a training image: mend a wrong label, add images or renumber the classes."
        )


def _check_finite(place: str, images: Tensor) -> None:
    if not images.is_floating_point():
        return
    bad = ~images.isfinite().flatten(1).all(dim=1)  # shape: (N,)
    if bad.any():
        index = int(bad.nonzero()[0])
        values = images[index]
        found = float(values[~values.isfinite()][0])
        raise DataError(
            f"{place}: image at index {index} holds {found} ({int(bad.sum())} such images); "
            "only finite values are allowed. Mend or remove the images."
        )


def _kind(images: Tensor) -> str:
    return f"{str(images.dtype).removeprefix('torch.')} {tuple(images.shape[1:])}"


def _listing(names: list[str], most: int = 5) -> str:
    return ", ".join(f"'{name}'" for name in names[:most]) + (", ..." if len(names) > most else "")
