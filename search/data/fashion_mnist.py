"""Fashion-MNIST: 60,000 + 10,000 grey 28x28 images of clothing, 10 classes.

Source: Xiao, Rasul, Vollgraf, arXiv 1708.07747; MIT licence. A tenth of the training images is carved for validation.
"""

import gzip
import hashlib
import logging
import os
import urllib.request
import zlib
from dataclasses import dataclass
from pathlib import Path

import torch

from search.data.assemble import assemble
from search.data.data import Data, DataError, Split
from search.data.idx import read_idx
from search.integer.preprocessing import NONE

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")  # of the package dataset-fashion-mnist
URL = "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion"  # of its authors
SECONDS_TO_ANSWER = 30
SHA256 = {  # of the content, not of the gzip file: packagers compress it anew
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}

log = logging.getLogger(__name__)


@dataclass
class FashionMnistOptions:
    """Where the four IDX files are, and how many training images are kept."""

    name: str = "fashion_mnist"
    folder: str | None = None  # None: the Debian package's where it is installed, else downloaded to a cache
    train_images: int | None = None  # stratified subset; None: all


def load_fashion_mnist(options: FashionMnistOptions) -> Data:
    """Loads the full data set.

    Raises:
        DataError: a file is missing, damaged or cannot be downloaded.
    """
    folder = Path(options.folder).expanduser() if options.folder else _default_folder()
    splits = {"train": read_split(folder, "train"), "test": read_split(folder, "t10k")}
    place = f"data '{options.name}' in {folder}"
    return assemble(options.name, place, splits, CLASSES, options.train_images, channels=NONE)


def read_split(folder: Path, prefix: str) -> Split:
    """Reads the images and labels called prefix, "train" or "t10k". They are not checked against each other.

    Raises:
        DataError: a file is missing or damaged.
    """
    images = read_idx(folder, f"{prefix}-images-idx3-ubyte")
    labels = read_idx(folder, f"{prefix}-labels-idx1-ubyte")
    return Split(torch.tensor(images).unsqueeze(1), torch.tensor(labels).long())


def _default_folder() -> Path:
    if DEBIAN_FOLDER.exists():
        return DEBIAN_FOLDER
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "picojoule" / "fashion_mnist"
    for name in SHA256:
        if not (cache / f"{name}.gz").exists():
            _download(name, cache)
    return cache


def _download(name: str, folder: Path) -> None:
    """Downloads one file into the folder. It appears there whole and checked, or not at all."""
    url = f"{URL}/{name}.gz"
    log.info("downloading %s to %s", url, folder)
    try:
        with urllib.request.urlopen(url, timeout=SECONDS_TO_ANSWER) as answer:
            content = answer.read()
        found = hashlib.sha256(gzip.decompress(content)).hexdigest()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"data 'fashion_mnist': {url} cannot be downloaded ({error}). Connect to a network, put the four files "
            f"{', '.join(SHA256)} (.gz) into a folder and set data.folder to it, or use fashion_mnist_mini."
        ) from error
    if found != SHA256[name]:
        raise DataError(
            f"data 'fashion_mnist': {url} has content of SHA-256 {found}; expected {SHA256[name]}. "
            "The download is damaged or not the original: try again, or set data.folder to the original files."
        )
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{name}.gz.{os.getpid()}"
    partial.write_bytes(content)
    partial.replace(folder / f"{name}.gz")
