"""What the rest of the engine knows of a data set: three splits of images in memory, and how to normalise them."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from search.errors import PicojouleError
from search.integer.frontend import FrontEnd
from search.integer.preprocessing import FIRST, FLOAT32, PIXEL_MAX, UINT8, Preprocessing


class DataError(PicojouleError, ValueError):
    """The data cannot be used; the message names the place, what was found, what is allowed and what to do."""


LABELS, NUMBERS, TAGS, MASKS, ANOMALIES = "labels", "numbers", "tags", "masks", "anomalies"  # kinds of targets


@dataclass(frozen=True)
class Split:
    """Images and what is to be learned of each, see search.data.targets."""

    images: Tensor  # shape: (N, C, *size), uint8 or float32
    targets: Tensor  # shape: (N,), (N, k) or (N, *size), int64 or float32
    indices: Tensor | None = None  # shape: (N,), of the images where they were read; None: 0 to N - 1

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    def take(self, index: Tensor) -> "Split":
        """The images at index (M,), in that order."""
        return Split(self.images[index], self.targets[index], index if self.indices is None else self.indices[index])

    def index_where_read(self, index: int) -> int:
        """The index that an image of this split had in what the user gave, before splits were carved out of it."""
        return index if self.indices is None else int(self.indices[index])


@dataclass(frozen=True)
class Data:
    """A checked data set; `search.data.assemble.assemble` makes one from raw splits.

    Attributes:
        mean, std: by which images are normalised, per channel: of images / 255 for uint8, of the images as they are for
            float32.
        classes: the names of classes or tags, or of the numbers that are learned.
        targets: what is to be learned, one of search.data.targets.KINDS.
        notes: what those who use it should know.
        channels: where an example had its channels before it was read, see search.integer.preprocessing.
        frontend: from sound to what the images are, its features; None: images are what was read.
    """

    name: str
    train: Split
    val: Split
    test: Split
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channels: str = FIRST
    targets: str = LABELS
    notes: tuple[str, ...] = ()
    frontend: FrontEnd | None = None

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(C, *size) of one image."""
        return tuple(self.train.images.shape[1:])

    def split(self, name: str) -> Split:
        """The split called train, val or test.

        Raises:
            DataError: there is no such split.
        """
        splits = {"train": self.train, "val": self.val, "test": self.test}
        if name not in splits:
            raise DataError(f"data '{self.name}' has no split '{name}'; choose one of {', '.join(splits)}.")
        return splits[name]

    @property
    def preprocessing(self) -> Preprocessing:
        """From raw examples to normalised ones, for a Program."""
        dtype = UINT8 if self.train.images.dtype == torch.uint8 else FLOAT32
        return Preprocessing(dtype, self.channels, self.mean, self.std, self.frontend)

    def normalise(self, images: Tensor) -> Tensor:
        """(images - mean) / std, after images / 255 where they are uint8.

        Args:
            images: (N, C, *size), uint8 or float32, on any device.

        Returns:
            (N, C, *size), float32, on the same device.
        """
        return self.normaliser(images.device)(images)

    def normaliser(self, device: torch.device | str) -> Callable[[Tensor], Tensor]:
        """What `normalise` does, for images of one device, to which mean and std are sent once and not with a batch."""
        per_channel = (-1, *[1] * (len(self.input_shape) - 1))
        mean, std = (
            torch.tensor(each, dtype=torch.float32, device="cpu").view(per_channel).to(device)
            for each in (self.mean, self.std)
        )
        # By a tensor: CUDA multiplies by the inverse of a number, which rounds twice.
        unit = torch.full((), PIXEL_MAX, dtype=torch.float32, device=device)

        def normalised(images: Tensor) -> Tensor:
            scaled = images.float().div_(unit) if images.dtype == torch.uint8 else images
            return (scaled - mean).div_(std)

        return normalised
