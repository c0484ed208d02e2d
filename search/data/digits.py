"""The 1,797 grey 8x8 digits that come with scikit-learn: small enough for a search in seconds.

Source: Alpaydin, Kaynak, UCI repository, optical recognition of handwritten digits.
"""

from dataclasses import dataclass

import torch

from search.data.assemble import assemble
from search.data.data import Data, DataError, Split
from search.integer.preprocessing import NONE

LEVELS = 16  # pixels are 0..16; images are float32 in 0..1


@dataclass
class DigitsOptions:
    """There is nothing to choose."""

    name: str = "digits"


def load_digits(options: DigitsOptions) -> Data:
    """Loads the digits. Validation and test images are carved out of them.

    Raises:
        DataError: scikit-learn is not installed.
    """
    try:
        from sklearn import datasets
    except ImportError as error:
        raise DataError(
            f"data '{options.name}': scikit-learn is not installed ({error}). Run `pip install scikit-learn`, "
            "or use fashion_mnist_mini, which is shipped."
        ) from error
    digits = datasets.load_digits()
    images = torch.tensor(digits.images / LEVELS, dtype=torch.float32).unsqueeze(1)
    train = Split(images, torch.tensor(digits.target, dtype=torch.int64))
    classes = tuple(str(digit) for digit in range(10))
    return assemble(options.name, f"data '{options.name}'", {"train": train}, classes, channels=NONE)
