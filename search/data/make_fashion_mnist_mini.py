"""Make the shipped subset of Fashion-MNIST: `python -m search.data.make_fashion_mnist_mini`.

Needs the Debian package dataset-fashion-mnist. The validation images come from the original training images, the
test images from the original test images.
"""

import hashlib
from typing import Any

import numpy as np

from search.data.data import Split
from search.data.fashion_mnist import DEBIAN_FOLDER, read_split
from search.data.mini import FILE
from search.data.splits import stratified

TRAIN_IMAGES, VAL_IMAGES, TEST_IMAGES = 8_000, 2_000, 2_000


def choose(train: Split, test: Split) -> dict[str, Split]:
    """The subset's splits, each with the classes in the shares of the original.

    Args:
        train: the original 60,000 images.
        test: the original 10,000 images.
    """
    chosen, _ = stratified(train.targets, TRAIN_IMAGES + VAL_IMAGES)
    pool = train.take(chosen)
    val, rest = stratified(pool.targets, VAL_IMAGES)
    chosen_test, _ = stratified(test.targets, TEST_IMAGES)
    return {"train": pool.take(rest), "val": pool.take(val), "test": test.take(chosen_test)}


def main() -> None:
    """Write the file, print its size and its checksum for `search.data.mini`."""
    splits = choose(read_split(DEBIAN_FOLDER, "train"), read_split(DEBIAN_FOLDER, "t10k"))
    arrays: dict[str, Any] = {f"x_{name}": split.images.squeeze(1).numpy() for name, split in splits.items()}
    arrays |= {f"y_{name}": split.targets.numpy().astype(np.uint8) for name, split in splits.items()}
    FILE.parent.mkdir(exist_ok=True)
    np.savez_compressed(FILE, **arrays)
    print(f"{FILE}: {FILE.stat().st_size} bytes, SHA-256 {hashlib.sha256(FILE.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    main()
