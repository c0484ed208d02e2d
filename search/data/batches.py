"""Batches of one split, from memory. They are shuffled by a seed, augmented, normalised, and shared by processes."""

from collections.abc import Callable, Iterator
from copy import copy

import numpy as np
import torch
from torch import Tensor

from search.data.augment import Augment, sent
from search.data.data import MASKS, Data, DataError


class Batches:
    """The batches of one split.

    Order and augmentation depend on the seed and the epoch alone, so a run that resumes at an epoch sees the same bits.
    Each of world_size processes gets a contiguous part of every batch. Together they see what one process would see.

    Args:
        data: the data set.
        split: "train", "val" or "test".
        batch_size: of all processes together.
        seed: not negative.
        shuffle: for training. Every epoch has a new order, and an incomplete last batch is dropped.
        augment: how to change the images; None, as a shift of None: they are not changed.
        device: where the whole split is held, whatever its size, and where batches are made and come out.
        rank: of this process, 0..world_size-1.
        world_size: number of processes.

    Raises:
        DataError: a batch of training cannot be divided evenly among the processes, or is larger than the split.
    """

    def __init__(
        self,
        data: Data,
        split: str,
        batch_size: int,
        *,
        seed: int,
        shuffle: bool,
        augment: Augment | None = None,
        device: torch.device | str = "cpu",
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        whole = data.split(split)
        if shuffle:
            _refuse_parts(data.name, batch_size, rank, world_size)
            _refuse_no_step(data.name, split, batch_size, len(whole))
        if augment is not None:
            augment.check(data.input_shape[1:])
        self._normalise: Callable[[Tensor], Tensor] = data.normaliser(device)
        self._images = whole.images.to(device)  # shape: (N, C, *size)
        self._targets = whole.targets.to(device)  # shape: (N, ...)
        self._masks = data.targets == MASKS
        self._batch_size = batch_size
        self._seed = seed
        self._shuffle = shuffle
        self._augment = augment
        self._rank, self._world_size = rank, world_size

    def __len__(self) -> int:
        """The number of steps in an epoch."""
        whole, rest = divmod(len(self._targets), self._batch_size)
        return whole if self._shuffle or rest == 0 else whole + 1

    @property
    def images(self) -> int:
        """The number of images in the split."""
        return len(self._targets)

    def some(self, count: int) -> "Batches":
        """Batches of `count` images that are spread evenly over the split, or of all where it has no more."""
        part = copy(self)
        places = torch.linspace(0, self.images - 1, min(count, self.images)).long().to(self._targets.device)
        part._images, part._targets = self._images[places], self._targets[places]
        return part

    def whole(self) -> "Batches":
        """The batches as one process would see them. What is on the device is held once."""
        part = copy(self)
        part._rank, part._world_size = 0, 1
        return part

    def raw(self) -> "Batches":
        """The same batches as they are before they are normalised; not for training."""
        part = copy(self)
        part._normalise = lambda images: images
        return part

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of one epoch, or this process's part of each.

        The last batch can be incomplete, but not in training. The parts then differ by one image and can be empty.

        Args:
            epoch: 0, 1, ..., in any order.

        Yields:
            Images (n, C, *size), float32, normalised, and targets (n, ...).
        """
        generator = torch.Generator().manual_seed(_mix(self._seed, epoch))
        count = len(self._targets)
        order = torch.randperm(count, generator=generator) if self._shuffle else torch.arange(count)
        for batch in sent(order, self._images.device).split(self._batch_size)[: len(self)]:
            yield self._part(batch, generator)

    def _part(self, batch: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """This process's part of the batch with these indices (n,), which are on the device.

        The changes of the whole batch are drawn, on the host, and go to the device while the host goes on.
        """
        first, last = (len(batch) * r // self._world_size for r in (self._rank, self._rank + 1))
        index = batch[first:last]
        images, targets = self._normalise(self._images[index]), self._targets[index]
        if self._augment is not None:
            draws = self._augment.draw(len(batch), tuple(images.shape[1:]), generator).part(first, last, images.device)
            images = self._augment.apply(images, draws)
            if self._masks:
                targets = self._augment.moved(targets[:, None].float(), draws)[:, 0].long()
        return images, targets


def _refuse_parts(data: str, batch_size: int, rank: int, world_size: int) -> None:
    if batch_size < 1 or batch_size % world_size or not 0 <= rank < world_size:
        raise DataError(
            f"batches of '{data}': batch_size {batch_size} for rank {rank} of {world_size} processes; "
            f"it must be a positive multiple of {world_size}, ranks are 0..{world_size - 1}. Change batch_size."
        )


def _refuse_no_step(data: str, split: str, batch_size: int, images: int) -> None:
    if batch_size > images:
        raise DataError(
            f"batches of '{data}', split '{split}': batch_size {batch_size} exceeds its {images} images, "
            f"so an epoch would have no step; allowed are 1..{images}. Reduce batch_size."
        )


def _mix(seed: int, epoch: int) -> int:
    """One number from two. Neighbouring seeds and epochs give unrelated numbers."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
