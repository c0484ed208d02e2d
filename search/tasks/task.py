"""What a network is trained for. A task is all that a run knows of targets, which for classification are labels."""

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

from torch import Tensor

from search.data.data import Data
from search.integer.answers import Answers
from search.monitor.words import Metric, Words


class Scores(Protocol):
    """What a network scores on a split. Batches are added first, then the figures are read."""

    def add(self, outputs: Any, targets: Tensor, images: Tensor) -> None:
        """Takes one batch. Nothing is read from the device, so that a GPU need not be waited for.

        Args:
            outputs: (N, ...), or a tuple of several. targets: (N, ...). images: (N, C, *size), normalised.
        """

    @property
    def value(self) -> float:
        """The metric over the batches of all processes. Every process has to ask for it."""

    @property
    def own_value(self) -> float:
        """The metric over the batches of this process."""

    def figures(self) -> dict[str, Any]:
        """All that was counted, over the batches of all processes, as values that JSON has."""


class Task(Protocol):
    """Loss, metric and wording of what a network is trained for, on one data set.

    Attributes:
        words: how figures are worded; an attribute of the class, since the report has no data set.
        scores_classes: whether outputs score the data's classes, the highest of which is the answer.
        facts: settings that change what training finds, as values that JSON has; processes that share a study compare
            them.
        notes: what the user should know before training begins, a line each.
        against_one_answer: a sentence on what keeps a network from giving the same answer for every input; empty where
            the targets do not ask for it.
    """

    words: ClassVar[Words]
    scores_classes: ClassVar[bool]
    facts: dict[str, Any]
    notes: list[str]
    against_one_answer: str

    @classmethod
    def of(cls, settings: Any, data: Data, label_smoothing: float) -> "Task":
        """The task on a data set.

        Args:
            settings: the task's own, of search.settings.tasks.
            label_smoothing: train.label_smoothing.

        Raises:
            UsageError: the settings do not fit the data; the message names the key.
        """

    @property
    def metric(self) -> Metric:
        """What networks are chosen by."""

    @property
    def answers(self) -> Answers | None:
        """What becomes of outputs that are numbers; None where they are none."""

    def loss(self, outputs: Any, targets: Tensor, images: Tensor) -> Tensor:
        """(), the loss that is trained: a mean over the batch.

        With several processes the mean of their losses is the loss of the whole batch; all have to call at a time.
        """

    def distance(self, outputs: Any, taught: Any, temperature: float) -> Tensor:
        """(), how far the outputs are from those of a teacher, for distillation: a mean over the batch."""

    def comparison_loss(self, outputs: Any, targets: Tensor, images: Tensor) -> Tensor:
        """(), the loss whose increases tell options of a decision apart outside of training: a mean over the batch.

        Inside the search it is the loss that is trained, distillation included, because decisions descend that loss.
        """

    def scores(self) -> Scores:
        """New scores, of no batch yet."""

    def standard_error(self, value: float, images: int) -> float:
        """The standard error of the metric, measured on so many images, in the scale of the metric."""

    def chance(self, targets: Tensor) -> float:
        """The metric of the best answer that is the same for every input, on these targets."""

    def check_output(self, *shapes: tuple[int, ...]) -> None:
        """Raises UsageError: a network whose outputs are (N, *shape) each cannot learn this task."""

    def summary(self, scores: Mapping[str, Scores]) -> dict[str, Any]:
        """What summary.json holds of an exported network beside the metric.

        Args:
            scores: "val" and "test" -> scores of the network's integers.
        """
