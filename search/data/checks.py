"""What every data set is checked for when it is loaded. Every check raises DataError with the split and the index."""

import torch
from torch import Tensor

from search.data.data import DataError, Split


def check_split(place: str, split: Split, classes: tuple[str, ...]) -> None:
    """Checks one split by itself: its types, lengths, that labels are in range and that images are finite.

    Args:
        place: the data set and the split, as errors should name them.
        split: any tensors.
        classes: the names of labels 0, 1, ...

    Raises:
        DataError: the split cannot be used.
    """
    images, labels = split.images, split.labels
    if images.dtype not in (torch.uint8, torch.float32) or images.dim() < 3:
        raise DataError(
            f"{place}: images are {images.dtype} {tuple(images.shape)}; allowed are uint8 or float32 of shape "
            "(N, channels, *size). Convert them."
        )
    if labels.dtype != torch.int64 or labels.dim() != 1 or len(labels) != len(images):
        raise DataError(
            f"{place}: {len(images)} images but labels {labels.dtype} of shape {tuple(labels.shape)}; "
            f"there must be one int64 label an image, shape ({len(images)},). Mend the labels."
        )
    if images.numel() == 0:
        raise DataError(f"{place}: no images, shape {tuple(images.shape)}; at least one is needed. Add images.")
    _check_labels(place, labels, classes)
    _check_finite(place, images)


def check_together(place: str, splits: dict[str, Split], classes: tuple[str, ...]) -> None:
    """Checks that the splits fit each other and that every class can be learned.

    Raises:
        DataError: images differ in shape or type from those of training, or a class has no training image.
    """
    train = splits["train"]
    for name, split in splits.items():
        found, expected = _kind(split.images), _kind(train.images)
        if found != expected:
            raise DataError(
                f"{place}, split '{name}': images are {found}, those of split 'train' {expected}; "
                "they must agree. Convert one of them."
            )
    counts = torch.bincount(train.labels, minlength=len(classes))
    missing = [classes[i] for i in (counts == 0).nonzero().squeeze(1).tolist()]
    if missing:
        largest = int(train.labels.argmax())
        raise DataError(
            f"{place}, split 'train': no image of {_listing(missing)} ({len(missing)} of {len(classes)} classes); "
            f"the largest label is {int(train.labels[largest])}, at index {train.index_where_read(largest)}. "
            "Every class needs a training image: mend a wrong label, add images or renumber the classes."
        )


def _check_labels(place: str, labels: Tensor, classes: tuple[str, ...]) -> None:
    bad = (labels < 0) | (labels >= len(classes))
    if bad.any():
        index = int(bad.nonzero()[0])
        raise DataError(
            f"{place}: label {int(labels[index])} at index {index} is out of range ({int(bad.sum())} such labels); "
            f"allowed are 0..{len(classes) - 1}. Mend the labels or the number of classes."
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
