"""What is to be learned of each example: a label, numbers, tags, a mask, or whether it is an anomaly."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from search.data.data import ANOMALIES, LABELS, MASKS, NUMBERS, TAGS, DataError

IGNORED = 255  # in a mask: a place that is of no class


@dataclass(frozen=True)
class Kind:
    """One kind of targets.

    Attributes:
        says: the shape and the values, as errors word them.
        fits: whether an array y of examples x is of this kind: from dtype kind, shape of y, shape of an example.
        dtype: of the tensor that it becomes.
    """

    says: str
    fits: Callable[[str, tuple[int, ...], tuple[int, ...]], bool]
    dtype: torch.dtype


KINDS: Mapping[str, Kind] = {
    LABELS: Kind(
        "integers (N,), the number of the class of each example", lambda k, y, x: k in "ui" and len(y) == 1, torch.int64
    ),
    NUMBERS: Kind("numbers (N,) or (N, k)", lambda k, y, x: k in "uif" and len(y) in (1, 2), torch.float32),
    TAGS: Kind(
        "0 or 1, (N, k): which of k tags each example has", lambda k, y, x: k in "uib" and len(y) == 2, torch.float32
    ),
    MASKS: Kind(
        f"integers (N, *size), the number of the class at each place of an example, {IGNORED} for none",
        lambda k, y, x: k in "ui" and len(y) >= 2 and y[1:] == x,
        torch.int64,
    ),
    ANOMALIES: Kind(
        "0 or 1, (N,): whether each example is an anomaly", lambda k, y, x: k in "uib" and len(y) == 1, torch.int64
    ),
}


def kind_of(array: np.ndarray, size: tuple[int, ...]) -> str:
    """What an array of targets is, where nothing says it: by its numbers and its shape.

    Args:
        size: of an example, without channels.

    Raises:
        DataError: it may be two things, or is none.
    """
    kind, shape = array.dtype.kind, array.shape
    if kind == "f" and array.ndim == 1 and bool((array == np.floor(array)).all()):
        raise DataError(
            f"{array.dtype} targets of shape {shape} are whole: they may be labels, or numbers to be estimated. "
            "Convert labels with .astype(int); for numbers set data.targets (targets= of from_arrays) to 'numbers'."
        )
    found = [LABELS] if KINDS[LABELS].fits(kind, shape, size) else []
    found += [NUMBERS] if kind == "f" and len(shape) in (1, 2) else []
    found += [MASKS] if KINDS[MASKS].fits(kind, shape, size) else []
    found += [TAGS] if not found and KINDS[TAGS].fits(kind, shape, size) and _is_binary(array) else []
    if len(found) == 1:
        return found[0]
    allowed = "; ".join(f"{name}: {each.says}" for name, each in KINDS.items())
    raise DataError(
        f"{array.dtype} targets of shape {shape} {'may be of several kinds' if found else 'are of no kind'}. Set "
        f"data.targets (targets= of from_arrays) to one of {allowed}."
    )


def target_tensor(place: str, array: np.ndarray, kind: str, size: tuple[int, ...]) -> Tensor:
    """The targets of a split.

    They are (N,) int64 of labels and anomalies, (N, k) float32 of numbers and tags, (N, *size) int64 of masks.

    Args:
        place: the file and key, as errors should name them.
        size: of an example, without channels.

    Raises:
        DataError: the array is not of this kind.
    """
    one = KINDS[kind]
    if not one.fits(array.dtype.kind, array.shape, size):
        whole = (
            kind == LABELS and array.dtype.kind == "f" and array.ndim == 1 and bool((array == np.floor(array)).all())
        )
        raise DataError(
            f"{place}: {array.dtype} {kind} of shape {array.shape}; they must be {one.says}. "
            f"{'Convert them with .astype(int).' if whole else 'Mend them, or set data.targets to what they are.'}"
        )
    if kind in (TAGS, ANOMALIES) and not _is_binary(array):
        index = int(np.argwhere((array != 0) & (array != 1))[0][0])
        raise DataError(
            f"{place}: {kind} hold {array[index].tolist()} at index {index}; allowed are 0 and 1. Mend them."
        )
    with np.errstate(over="ignore"):  # float64 beyond float32 becomes inf, which the checks report with its index
        plain = np.ascontiguousarray(array, np.float32 if one.dtype is torch.float32 else np.int64)
    tensor = torch.tensor(plain)
    return tensor.unsqueeze(1) if kind == NUMBERS and tensor.dim() == 1 else tensor


def _is_binary(array: np.ndarray) -> bool:
    return bool(((array == 0) | (array == 1)).all())


def check_targets(place: str, targets: Tensor, kind: str, classes: tuple[str, ...], examples: Tensor) -> None:
    """Checks the targets of one split: one for each example, of the right type and shape, finite and in range.

    Raises:
        DataError: they cannot be used; names the index.
    """
    expected = _shape(kind, len(examples), len(classes), tuple(examples.shape[2:]))
    if targets.dtype != KINDS[kind].dtype or tuple(targets.shape) != expected:
        raise DataError(
            f"{place}: {len(examples)} images but {kind} {targets.dtype} of shape {tuple(targets.shape)}; there must "
            f"be {KINDS[kind].dtype} of shape {expected}. Mend the {kind}."
        )
    if kind == NUMBERS:
        bad = ~targets.isfinite().all(dim=1)
        if bad.any():
            index = int(bad.nonzero()[0])
            raise DataError(
                f"{place}: the target at index {index} is {targets[index].tolist()} ({int(bad.sum())} such targets); "
                "only finite values are allowed. Mend or remove the examples."
            )
    elif kind in (LABELS, MASKS):
        _check_range(place, targets, kind, classes)


def _shape(kind: str, examples: int, outputs: int, size: tuple[int, ...]) -> tuple[int, ...]:
    if kind in (NUMBERS, TAGS):
        return examples, outputs
    return (examples, *size) if kind == MASKS else (examples,)


def _check_range(place: str, targets: Tensor, kind: str, classes: tuple[str, ...]) -> None:
    bad = (targets < 0) | (targets >= len(classes))
    if kind == MASKS:
        bad &= targets != IGNORED
    if bad.any():
        where = tuple(bad.nonzero()[0].tolist())
        raise DataError(
            f"{place}: label {int(targets[where])} at index {where[0]} is out of range ({int(bad.sum())} such labels); "
            f"allowed are 0..{len(classes) - 1}. Mend the labels or the number of classes."
        )
