"""The losses of an epoch's steps. They stay on the device, and are read many at a time: no step waits for it."""

import math

import torch
from torch import Tensor

from search import distributed
from search.errors import PicojouleError

TOGETHER = 16  # losses that are read at a time


class TrainingDiverged(PicojouleError, RuntimeError):
    """The loss is not a finite number."""


class Losses:
    """Means over all processes, one a step."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pending: list[tuple[Tensor, str]] = []
        self._sum, self._count = 0.0, 0

    def add(self, loss: Tensor, where: str) -> None:
        """Takes the loss of a step. Every process has to call it as often.

        Args:
            loss: (), of this process.
            where: the step, as an error names it.

        Raises:
            TrainingDiverged: this loss is not finite, or one of those that were not read yet.
        """
        self._pending.append((loss, where))
        if len(self._pending) == TOGETHER:
            self.read()

    def read(self) -> None:
        """Reads what is pending. Raises TrainingDiverged, with the step, where one is not finite."""
        if not self._pending:
            return
        values = distributed.summed(torch.stack([loss for loss, _ in self._pending]).tolist(), self._device)
        pending, self._pending = self._pending, []
        for value, (_, where) in zip(values, pending, strict=True):
            value /= distributed.world_size()
            if not math.isfinite(value):
                raise TrainingDiverged(
                    f"{where}: the loss is {value}. Look at the data, or start a new run with a lower learning rate."
                )
            self._sum += value
            self._count += 1

    @property
    def mean(self) -> float:
        """Over all that was added, after which nothing is pending."""
        self.read()
        return self._sum / self._count

    @property
    def shown(self) -> float:
        """The same, but of those that are not read by all processes yet it takes this process's."""
        own: list[float] = torch.stack([loss for loss, _ in self._pending]).tolist() if self._pending else []
        return (self._sum + sum(own)) / (self._count + len(own))
