"""A user's own arrays, in a .npz file or in memory.

x_train and y_train are needed. x_val with y_val and x_test with y_test are optional.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from search.data.arrays import image_tensor, label_tensor, read_npz
from search.data.assemble import assemble
from search.data.data import Data, DataError, Split


@dataclass
class NpzOptions:
    """Which file, and how to read it."""

    file: str
    name: str = "npz"
    classes: int | None = None  # None: the largest training label + 1
    has_channels: bool | None = None  # is axis 1 the channels? None: from 4 dimensions on; below, one is added


def load_npz(options: NpzOptions) -> Data:
    """Loads the file. Images are uint8, or become float32. Splits that it lacks are carved out of x_train.

    Raises:
        DataError: the file or what it holds cannot be used.
    """
    path = Path(options.file).expanduser()
    return _checked(str(path), read_npz(path), options)


def from_arrays(arrays: Mapping[str, np.ndarray], classes: int | None = None, has_channels: bool | None = None) -> Data:
    """A data set from arrays in memory, under the names that they would have in a .npz file.

    Args:
        arrays: x_train (N, C, *size) or (N, *size), y_train (N,). x_val, y_val, x_test and y_test have the same form;
            a split that is missing is carved out of train.
        classes, has_channels: see NpzOptions.

    Raises:
        DataError: the arrays cannot be used.
    """
    plain = {name: np.asarray(array) for name, array in arrays.items()}
    return _checked("arrays", plain, NpzOptions("", "arrays", classes, has_channels))


def _checked(place: str, arrays: Mapping[str, np.ndarray], options: NpzOptions) -> Data:
    _check_keys(place, set(arrays))
    splits = {
        name: _split(place, arrays, name, options.has_channels)
        for name in ("train", "val", "test")
        if f"x_{name}" in arrays
    }
    return assemble(options.name, f"data '{options.name}' in {place}", splits, _classes(options, splits["train"]))


def _check_keys(place: str, found: set[str]) -> None:
    paired = all((f"x_{split}" in found) == (f"y_{split}" in found) for split in ("val", "test"))
    if not ({"x_train", "y_train"} <= found and paired):
        raise DataError(
            f"{place}: holds {', '.join(sorted(found)) or 'nothing'}; x_train and y_train are needed, x_val with y_val "
            "and x_test with y_test are optional. Rename or add arrays."
        )


def _split(place: str, arrays: Mapping[str, np.ndarray], name: str, has_channels: bool | None) -> Split:
    images, labels = arrays[f"x_{name}"], arrays[f"y_{name}"]
    has_channels = images.ndim > 3 if has_channels is None else has_channels
    return Split(
        image_tensor(f"{place}, x_{name}", images, has_channels),
        label_tensor(f"{place}, y_{name}", labels),
    )


def _classes(options: NpzOptions, train: Split) -> tuple[str, ...]:
    count = options.classes
    if count is None:  # N images can show N classes at most: a label beyond is out of range
        count = min(1 + int(train.labels.max()), train.labels.numel()) if train.labels.numel() else 0
    return tuple(str(label) for label in range(count))
