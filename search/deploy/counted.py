"""Batches that tell a monitor how far they are, for work that takes long and trains nothing."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from torch import Tensor

from search.data.batches import Batches
from search.monitor.events import Monitor


@dataclass(frozen=True)
class Counted:
    """The same batches, under the name of the part of the run that goes through them."""

    batches: Batches
    part: str
    monitor: Monitor

    def raw(self) -> "Counted":
        """The same, with images as they are before they are normalised."""
        return replace(self, batches=self.batches.raw())

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        done, total = 0, self.batches.images
        self.monitor.progress(self.part, done, total)
        for images, targets in self.batches.epoch(epoch):
            yield images, targets
            done += len(images)
            self.monitor.progress(self.part, done, total)
