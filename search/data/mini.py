"""Fashion-MNIST mini, shipped with the package: 8,000 training, 2,000 validation and 2,000 test images.

`search.data.make_fashion_mnist_mini` made it; see fashion_mnist_mini/README.md.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from search.data.arrays import image_tensor, read_npz
from search.data.assemble import assemble
from search.data.data import LABELS, Data, DataError, Split
from search.data.fashion_mnist import CLASSES
from search.data.targets import target_tensor
from search.integer.preprocessing import NONE

FILE = Path(__file__).parent / "fashion_mnist_mini" / "fashion_mnist_mini.npz"
SHA256 = "5c4ea4a89022784c8eb723b287954c25cc3fd825731020b758d014638061b37b"


@dataclass
class FashionMnistMiniOptions:
    """How many training images are kept."""

    name: str = "fashion_mnist_mini"
    train_images: int | None = None  # stratified subset; None: all 8,000


def load_fashion_mnist_mini(options: FashionMnistMiniOptions) -> Data:
    """Loads the shipped subset.

    Raises:
        DataError: the file is missing or not the one that was shipped.
    """
    place = f"data '{options.name}' in {FILE}"
    found = hashlib.sha256(FILE.read_bytes()).hexdigest() if FILE.exists() else "no such file"
    if found != SHA256:
        raise DataError(
            f"{place}: SHA-256 is {found}; expected {SHA256}. Install the package or check out the file again."
        )
    arrays = read_npz(FILE)
    splits = {
        name: Split(
            image_tensor(place, arrays[f"x_{name}"], has_channels=False),
            target_tensor(place, arrays[f"y_{name}"], LABELS, ()),
        )
        for name in ("train", "val", "test")
    }
    return assemble(options.name, place, splits, CLASSES, options.train_images, channels=NONE)
