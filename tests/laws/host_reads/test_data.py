"""Training data are on the device, and an epoch of them reads nothing there."""

import pytest
import torch

from benchmarks.waits import Waits
from search.data import Data
from search.data.augment import Augment
from search.data.batches import Batches
from search.data.data import Split
from tests.laws.host_reads.counted import IMAGES, META, reads_of

AUGMENTS = {
    "none": None,
    "shift": Augment(shift=0.25),
    "flip": Augment(flip=True),
    "cutout": Augment(cutout=0.3),
    "noise": Augment(noise=0.1),
    "all": Augment(shift=0.25, flip=True, cutout=0.3, noise=0.1),
}


def images_of(device: torch.device, augment: Augment | None, count: int = IMAGES) -> Batches:
    """Batches of 16 of so many images, which share their bytes before they are on the device."""
    images = torch.zeros(1, 3, 32, 32, dtype=torch.uint8).expand(count, -1, -1, -1)
    split = Split(images, torch.zeros(1, dtype=torch.long).expand(count))
    data = Data("images", split, split, split, ("a", "b"), (0.5,) * 3, (0.2,) * 3)
    return Batches(data, "train", 16, seed=0, shuffle=True, augment=augment, device=device)


@pytest.mark.parametrize("augment", AUGMENTS.values(), ids=AUGMENTS)
def test_an_epoch_of_training_data_reads_nothing_and_waits_for_no_copy(augment: Augment | None) -> None:
    assert not reads_of(lambda: list(images_of(torch.device("cpu"), augment).epoch(0)))
    batches = images_of(META, augment)
    with Waits() as waits:
        found = list(batches.epoch(0))
    assert len(found) == IMAGES // 16 and not +waits.reads and not +waits.copies
    assert all(images.device == targets.device == META for images, targets in found)


def test_sixty_thousand_images_stay_on_the_device_as_bytes() -> None:
    batches = images_of(META, AUGMENTS["all"], count=60_000)
    held = batches._images
    assert (held.device, held.dtype, tuple(held.shape)) == (META, torch.uint8, (60_000, 3, 32, 32))
    assert batches._targets.device == batches.some(1000)._images.device == META
    with Waits() as waits:
        images, targets = next(batches.epoch(0))
    assert images.device == targets.device == META and images.dtype == torch.float32
    assert not +waits.reads and not +waits.copies
