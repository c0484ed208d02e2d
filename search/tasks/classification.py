"""One of several classes for each image: cross-entropy, accuracy, and how each class fares."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from search import distributed
from search.data.data import LABELS, Data
from search.errors import UsageError
from search.monitor.words import Metric, Words
from search.settings.tasks import BALANCED, ClassificationSettings
from search.tasks.base import error_of_share
from search.tasks.checks import refuse_other_targets
from search.tasks.class_scores import ClassScores, both_logits
from search.tasks.class_words import ClassWords
from search.tasks.constant import Constant
from search.tasks.task import Scores

EVEN = f"Training images are not spread evenly: task.class_weights={BALANCED} makes every class count the same."
IMBALANCE = 1.5  # images of the largest class over those of the smallest, from which the run says so


class Classification:
    """Targets are labels: (N,) int64, the number of the class of each image."""

    words: ClassVar[Words] = ClassWords()
    scores_classes: ClassVar[bool] = True
    answers: None = None

    def __init__(
        self,
        classes: Sequence[str],
        label_smoothing: float = 0.0,
        weights: Sequence[float] | None = None,
        notes: Sequence[str] = (),
        data: str = "the data",
    ) -> None:
        """Args: weights: how much an image of each class weighs in the loss; None: every image weighs the same."""
        self.classes, self.label_smoothing, self.notes = tuple(classes), label_smoothing, list(notes)
        self.against_one_answer = EVEN if notes else ""  # the only note is on uneven classes
        self._data = data
        self.facts: dict[str, Any] = {"label_smoothing": label_smoothing}
        if weights is not None:
            self.facts["class_weights"] = list(weights)
        self._weights = None if weights is None else Constant(torch.tensor(list(weights), dtype=torch.float32))

    @classmethod
    def of(cls, settings: ClassificationSettings, data: Data, label_smoothing: float) -> "Classification":
        refuse_other_targets("classification", data, LABELS)
        counts = torch.bincount(data.train.targets, minlength=len(data.classes)).tolist()
        weights = _weights(settings.class_weights, data, counts)
        notes = _notes(data.classes, counts) if weights is None else []
        return cls(data.classes, label_smoothing, weights, notes, data.name)

    @property
    def metric(self) -> Metric:
        return self.words.metric

    def loss(self, outputs: Tensor, targets: Tensor, images: Tensor | None = None) -> Tensor:
        """Cross-entropy, with class weights a weighted mean (docs/methods.md, section 11).

        Args:
            outputs: (N, classes), logits, or (N, 1) for two classes. targets: (N,), labels.
        """
        outputs = both_logits(outputs)
        if self._weights is None:
            return F.cross_entropy(outputs, targets, label_smoothing=self.label_smoothing)
        weights = self._weights.on(outputs.device)
        options: Any = {"weight": weights, "label_smoothing": self.label_smoothing}
        total = F.cross_entropy(outputs, targets, reduction="sum", **options)
        return total / distributed.mean_(weights[targets].sum())

    def distance(self, outputs: Tensor, taught: Tensor, temperature: float) -> Tensor:
        """T^2 KL(taught || outputs) of the classes' probabilities at temperature T; class weights have no part in it.

        Args:
            outputs, taught: (N, classes), logits, or (N, 1).
        """
        wanted = F.log_softmax(both_logits(taught) / temperature, 1)
        given = F.log_softmax(both_logits(outputs) / temperature, 1)
        return F.kl_div(given, wanted, reduction="batchmean", log_target=True) * temperature**2

    def comparison_loss(self, outputs: Tensor, targets: Tensor, images: Tensor | None = None) -> Tensor:
        return self.loss(outputs, targets)

    def scores(self) -> ClassScores:
        return ClassScores(len(self.classes))

    def standard_error(self, value: float, images: int) -> float:
        """The standard error of a share (docs/methods.md, section 11), which is never 0."""
        return error_of_share(value, images)

    def chance(self, targets: Tensor) -> float:
        """The share of the most frequent class. Args: targets: (N,), labels."""
        return torch.bincount(targets).max().item() / len(targets)

    def check_output(self, *shapes: tuple[int, ...]) -> None:
        one_logit = len(self.classes) == 2 and shapes == ((1,),)
        if shapes != ((len(self.classes),),) and not one_logit:
            found = " and ".join(f"(N, {', '.join(map(str, shape))})" for shape in shapes)
            raise UsageError(
                f"model: its output has shape {found}; {self._data} has {len(self.classes)} classes, so "
                f"(N, {len(self.classes)}) is needed. Change the last layer."
            )

    def summary(self, scores: Mapping[str, Scores]) -> dict[str, Any]:
        """The names of the classes, the balanced accuracy of each split, and all counts on test data."""
        found: dict[str, Any] = {"names": list(self.classes)}
        for split, each in scores.items():
            figures = each.figures()
            found[split] = figures if split == "test" else {"balanced_accuracy": figures["balanced_accuracy"]}
        return {"classes": found}


def _weights(given: Any, data: Data, counts: Sequence[int]) -> list[float] | None:
    """The weight of an image of each class.

    Raises:
        UsageError: there are not as many weights as classes.
    """
    if given is None:
        return None
    if given == BALANCED:
        return [sum(counts) / (len(counts) * count) for count in counts]
    if len(given) != len(data.classes):
        raise UsageError(
            f"task.class_weights has {len(given)} numbers; {data.name} has {len(data.classes)} classes, "
            f"{_listing(data.classes)}. Give a number for each class, in this order, or '{BALANCED}'."
        )
    return [float(weight) for weight in given]


def _notes(classes: Sequence[str], counts: Sequence[int]) -> list[str]:
    if max(counts) <= IMBALANCE * min(counts):
        return []
    shown = _listing([f"{name}: {count:,}" for name, count in zip(classes, counts, strict=True)])
    return [
        f"training images are not spread evenly over the classes ({shown}), and every image counts the same. "
        f"task.class_weights={BALANCED} makes every class count the same."
    ]


def _listing(names: Sequence[str], most: int = 12) -> str:
    return ", ".join(names[:most]) + (f", and {len(names) - most} more" if len(names) > most else "")
