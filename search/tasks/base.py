"""What most tasks have in common."""

import math
from typing import Any, ClassVar, Self

from torch import Tensor

from search.data.data import Data
from search.monitor.words import Metric, Words
from search.tasks.checks import refuse_other_targets


class BaseTask:
    """A task on data of one kind of targets, which compares options by the loss that it trains.

    Attributes:
        name: of the task; targets: the kind that it learns, of search.data.targets.
    """

    name: ClassVar[str]
    targets: ClassVar[str]
    words: ClassVar[Words]
    scores_classes: ClassVar[bool] = False

    def __init__(self, settings: Any, data: Data) -> None:
        self.facts: dict[str, Any] = {}
        self.notes: list[str] = []
        self.against_one_answer = ""
        self._names, self._data = data.classes, data.name

    @classmethod
    def of(cls, settings: Any, data: Data, label_smoothing: float) -> Self:
        refuse_other_targets(cls.name, data, cls.targets)
        return cls(settings, data)

    @property
    def metric(self) -> Metric:
        return self.words.metric

    @property
    def answers(self) -> Any:
        return None

    def loss(self, outputs: Any, targets: Tensor, images: Tensor) -> Tensor:
        raise NotImplementedError

    def comparison_loss(self, outputs: Any, targets: Tensor, images: Tensor) -> Tensor:
        return self.loss(outputs, targets, images)


def error_of_share(share: float, images: int) -> float:
    """The standard error of a share (docs/methods.md, section 11), which is never 0."""
    likely = (share * images + 1) / (images + 2)
    return math.sqrt(likely * (1 - likely) / images)
