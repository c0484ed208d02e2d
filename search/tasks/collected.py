"""Scores that need all answers at once: they are kept on the device until a figure is asked for."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from search import distributed

Figures = dict[str, Any]


class Collected:
    """What a network answers and what it should, over the batches that were added.

    Args:
        answer: from outputs, targets and images of a batch to what is kept of it: (N, ...) each.
        measure: from all of it to figures, among which "value" is the metric.
    """

    def __init__(
        self,
        answer: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]],
        measure: Callable[[Tensor, Tensor], Figures],
    ) -> None:
        self._answer, self._measure = answer, measure
        self._kept: list[tuple[Tensor, Tensor]] = []

    def add(self, outputs: Tensor, targets: Tensor, images: Tensor) -> None:
        answers, wanted = self._answer(outputs.detach(), targets, images)
        self._kept.append((answers.float(), wanted))

    @property
    def value(self) -> float:
        """The metric over the batches of all processes."""
        return float(self.figures()["value"])

    @property
    def own_value(self) -> float:
        return float(self._measure(*self._own())["value"])

    def figures(self) -> Figures:
        answers, wanted = (distributed.gathered(each) for each in self._own())
        return self._measure(answers, wanted)

    def _own(self) -> tuple[Tensor, Tensor]:
        answers, wanted = zip(*self._kept, strict=True)
        return torch.cat(answers), torch.cat(wanted)
