"""Arrays of the user's own in one .npz file: x_train, y_train, and where they exist x_val, y_val, x_test, y_test."""

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
    """Load the file. Images are uint8, or become float32; splits that it lacks are carved out of x_train.

    Raises:
        DataError: the file or what it holds cannot be used.
    """
    path = Path(options.file).expanduser()
    arrays = read_npz(path)
    _check_keys(path, set(arrays))
    splits = {
        name: _split(path, arrays, name, options.has_channels)
        for name in ("train", "val", "test")
        if f"x_{name}" in arrays
    }
    return assemble(options.name, f"data '{options.name}' in {path}", splits, _classes(options, splits["train"]))


def _check_keys(path: Path, found: set[str]) -> None:
    paired = all((f"x_{split}" in found) == (f"y_{split}" in found) for split in ("val", "test"))
    if not ({"x_train", "y_train"} <= found and paired):
        raise DataError(
            f"{path}: holds {', '.join(sorted(found)) or 'nothing'}; x_train and y_train are needed, x_val with y_val "
            "and x_test with y_test are optional. Rename or add arrays."
        )


def _split(path: Path, arrays: dict[str, np.ndarray], name: str, has_channels: bool | None) -> Split:
    images, labels = arrays[f"x_{name}"], arrays[f"y_{name}"]
    has_channels = images.ndim > 3 if has_channels is None else has_channels
    return Split(
        image_tensor(f"{path}, x_{name}", images, has_channels),
        label_tensor(f"{path}, y_{name}", labels),
    )


def _classes(options: NpzOptions, train: Split) -> tuple[str, ...]:
    count = options.classes
    if count is None:  # N images can show N classes at most: a label beyond is out of range
        count = min(1 + int(train.labels.max()), train.labels.numel()) if train.labels.numel() else 0
    return tuple(str(label) for label in range(count))
