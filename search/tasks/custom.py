"""A task of the user's own: a class with a loss and a metric."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from search import distributed
from search.data.data import Data
from search.errors import UsageError
from search.kinds import Kind
from search.monitor.words import Details, Metric, Words
from search.named import class_of
from search.settings.tasks import CustomSettings
from search.tasks.task import Scores

Outputs = Tensor | tuple[Tensor, ...]


class CustomWords:
    """Of what only the user knows."""

    metric = Metric(name="score", short="score", unit="", factor=1.0, digits=4)
    kinds: Mapping[str, Kind] = {}

    def details(self, summary: Mapping[str, Any], most: int) -> Details:
        return Details({})


class CustomTask:
    """Derive from it, and override `loss` and `metric`. A network with several outputs gives a tuple of them.

    Attributes:
        data: the data set. Its targets may be of any kind; `data.targets` says of which.
        noise: the standard error of the metric on 100 examples. What differs by less than a few of them is no
            difference.
    """

    words: ClassVar[Words] = CustomWords()
    scores_classes: ClassVar[bool] = False
    answers: None = None
    noise: float = 0.03

    def __init__(self, data: Data) -> None:
        self.data = data
        self.facts: dict[str, Any] = {"task": f"{type(self).__module__}.{type(self).__qualname__}"}
        self.notes: list[str] = []
        self.against_one_answer = ""

    def loss(self, outputs: Any, targets: Tensor, images: Tensor) -> Tensor:
        """(), what training makes small: a mean over the batch.

        Args:
            outputs: (N, ...), or a tuple of several. targets: (N, ...). images: (N, C, *size), normalised.
        """
        raise NotImplementedError(f"{type(self).__name__}.loss")

    def metric_of(self, outputs: Any, targets: Tensor, images: Tensor) -> Tensor:
        """(N,), what each example scores; the metric is their mean, and a higher one is better."""
        raise NotImplementedError(f"{type(self).__name__}.metric_of")

    def distance(self, outputs: Any, taught: Any, temperature: float) -> Tensor:
        """(), how far outputs are from a teacher's: the mean square of their difference, over all outputs."""
        pairs = zip(_each(outputs), _each(taught), strict=True)
        return torch.stack([F.mse_loss(one, other) for one, other in pairs]).mean()

    def comparison_loss(self, outputs: Any, targets: Tensor, images: Tensor) -> Tensor:
        return self.loss(outputs, targets, images)

    def check_output(self, *shapes: tuple[int, ...]) -> None:
        """Raise UsageError where a network whose outputs are (N, *shape) each cannot learn this."""

    def chance(self, targets: Tensor) -> float:
        """The metric of an answer that is the same for every input; -inf where there is none."""
        return -float("inf")

    def standard_error(self, value: float, images: int) -> float:
        return self.noise * math.sqrt(100 / images)

    @property
    def metric(self) -> Metric:
        return self.words.metric

    def scores(self) -> "MeanScores":
        return MeanScores(self)

    def summary(self, scores: Mapping[str, Scores]) -> dict[str, Any]:
        return {}

    @classmethod
    def of(cls, settings: CustomSettings, data: Data, label_smoothing: float) -> "CustomTask":
        found = class_of("task.kind", settings.kind, CustomTask, "a class that derives from search.tasks.CustomTask")
        made: CustomTask = found(data)
        for name in ("loss", "metric_of"):
            if getattr(found, name) is getattr(CustomTask, name):
                raise UsageError(f"task.kind '{settings.kind}': has no {name} of its own. Override it.")
        return made


class MeanScores:
    """The mean of what examples score."""

    def __init__(self, task: CustomTask) -> None:
        self._task = task
        self._each: list[Tensor] = []

    def add(self, outputs: Any, targets: Tensor, images: Tensor) -> None:
        detached = tuple(each.detach() for each in _each(outputs))
        given = detached if isinstance(outputs, tuple) else detached[0]
        self._each.append(self._task.metric_of(given, targets, images).detach())

    @property
    def value(self) -> float:
        own = torch.cat(self._each).double()
        total, count = distributed.summed([float(own.sum()), float(len(own))], own.device)
        return total / count

    @property
    def own_value(self) -> float:
        return float(torch.cat(self._each).double().mean())

    def figures(self) -> dict[str, Any]:
        return {"value": self.value}


def _each(outputs: Outputs) -> tuple[Tensor, ...]:
    return outputs if isinstance(outputs, tuple) else (outputs,)
