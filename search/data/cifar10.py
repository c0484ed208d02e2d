"""CIFAR-10 in its binary format: data_batch_1.bin to data_batch_5.bin and test_batch.bin.

A record is a byte of label and 3,072 of an image: 32x32 red, then green, then blue (Krizhevsky, Learning Multiple
Layers of Features from Tiny Images, 2009). The files do not come with the package.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from search.data.assemble import assemble
from search.data.data import Data, DataError, Split
from search.integer.preprocessing import FIRST

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SHAPE = (3, 32, 32)
RECORD = 1 + 3 * 32 * 32
FILES = {"train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)), "test": ("test_batch.bin",)}


@dataclass
class Cifar10Options:
    """Which folder, and how many training images are kept.

    Attributes:
        folder: that holds the six files.
        train_images: stratified subset, after a tenth was carved out for validation; None: all 45,000.
    """

    folder: str
    name: str = "cifar10"
    train_images: int | None = None


def load_cifar10(options: Cifar10Options) -> Data:
    """Loads the files.

    Raises:
        DataError: a file is missing, or no whole number of records.
    """
    folder = Path(options.folder).expanduser()
    splits = {}
    for split, names in FILES.items():
        records = np.concatenate([_records(folder / name) for name in names])
        images = np.ascontiguousarray(records[:, 1:]).reshape(-1, *SHAPE)
        splits[split] = Split(torch.from_numpy(images), torch.from_numpy(records[:, 0].astype(np.int64)))
    place = f"data '{options.name}' in {folder}"
    return assemble(options.name, place, splits, CLASSES, options.train_images, channels=FIRST)


def _records(path: Path) -> np.ndarray:
    """(N, 3073), uint8."""
    try:
        content = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); expected CIFAR-10 in its binary version. Set data.folder to "
            f"the folder that holds {', '.join(name for names in FILES.values() for name in names)}."
        ) from error
    if not len(content) or len(content) % RECORD:
        raise DataError(
            f"{path}: {len(content)} bytes are no whole number of records of {RECORD}. Copy the file again."
        )
    return content.reshape(-1, RECORD)
