"""Data sets. A new one is a file with its options and its loader, a line in each dict here, and a YAML in conf/data."""

from collections.abc import Callable
from typing import Any

from search.data.audio_folder import AudioFolderOptions, load_audio_folder
from search.data.cifar10 import Cifar10Options, load_cifar10
from search.data.data import Data, DataError, Split
from search.data.digits import DigitsOptions, load_digits
from search.data.fashion_mnist import FashionMnistOptions, load_fashion_mnist
from search.data.image_folder import ImageFolderOptions, load_image_folder
from search.data.made import MadeOptions, load_made
from search.data.mini import FashionMnistMiniOptions, load_fashion_mnist_mini
from search.data.npz import NpzOptions, from_arrays, load_npz
from search.data.table import CsvOptions, load_csv

__all__ = ["DATA_SETS", "OPTIONS", "Data", "DataError", "Split", "from_arrays", "load"]

OPTIONS: dict[str, type] = {
    "audio_folder": AudioFolderOptions,
    "cifar10": Cifar10Options,
    "csv": CsvOptions,
    "digits": DigitsOptions,
    "fashion_mnist": FashionMnistOptions,
    "fashion_mnist_mini": FashionMnistMiniOptions,
    "image_folder": ImageFolderOptions,
    "made": MadeOptions,
    "npz": NpzOptions,
}

DATA_SETS: dict[str, Callable[[Any], Data]] = {
    "audio_folder": load_audio_folder,
    "cifar10": load_cifar10,
    "csv": load_csv,
    "digits": load_digits,
    "fashion_mnist": load_fashion_mnist,
    "fashion_mnist_mini": load_fashion_mnist_mini,
    "image_folder": load_image_folder,
    "made": load_made,
    "npz": load_npz,
}


def load(options: Any) -> Data:
    """Load the data set that the options describe.

    Args:
        options: an instance of one of OPTIONS; or Data, which is there already.

    Raises:
        DataError: no such data set, or it cannot be used.
    """
    if isinstance(options, Data):
        return options
    if options.name not in DATA_SETS:
        raise DataError(f"data: there is no data set '{options.name}'; choose one of {', '.join(DATA_SETS)}.")
    return DATA_SETS[options.name](options)
