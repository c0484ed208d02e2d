"""Right and wrong answers, class by class."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from search import distributed


def both_logits(outputs: Tensor) -> Tensor:
    """(N, classes), logits. One logit says how much likelier the second of two classes is: that of the first is 0."""
    return F.pad(outputs, (1, 0)) if outputs.shape[1] == 1 else outputs


class ClassScores:
    """Counts answers. An answer is the class with the highest logit, the first one of equals.

    Adding a batch finds its answers and leaves them on the device. They are counted when a figure is asked for, so that
    the device is waited for once a figure and not once a batch.
    """

    def __init__(self, classes: int) -> None:
        self._classes = classes
        self._answers: list[Tensor] = []
        self._labels: list[Tensor] = []
        self._right, self._seen, self._counted = 0, 0, 0

    def add(self, outputs: Tensor, targets: Tensor, images: Tensor | None = None) -> None:
        """Args: outputs: (N, classes), logits, or one for two classes. targets: (N,), labels, on the same device."""
        self._answers.append(both_logits(outputs.detach()).argmax(1))
        self._labels.append(targets)
        self._seen += len(targets)

    @property
    def value(self) -> float:
        """Accuracy over all processes, 0..1."""
        right, seen = distributed.summed([self._own_right(), self._seen], self._labels[0].device)
        return right / seen

    @property
    def own_value(self) -> float:
        return self._own_right() / self._seen

    def _own_right(self) -> int:
        """Right answers of this process; batches that were counted before are not counted again."""
        answers, labels = self._answers[self._counted :], self._labels[self._counted :]
        if labels:
            self._right += int((torch.cat(answers) == torch.cat(labels)).sum())
            self._counted = len(self._labels)
        return self._right

    def confusion(self) -> list[list[int]]:
        """[label][answer], images over all processes."""
        places = torch.cat(self._labels) * self._classes + torch.cat(self._answers)
        counts = torch.bincount(places, minlength=self._classes**2).tolist()
        whole = [int(count) for count in distributed.summed(counts, places.device)]
        return [whole[start : start + self._classes] for start in range(0, len(whole), self._classes)]

    def figures(self) -> dict[str, Any]:
        """The confusion matrix and what follows from it, see `figures_of`."""
        return figures_of(self.confusion())


def figures_of(confusion: Sequence[Sequence[int]]) -> dict[str, Any]:
    """What a confusion matrix says (docs/methods.md, section 11), as values that JSON has.

    Args:
        confusion: [label][answer], images.

    Returns:
        confusion; balanced_accuracy: the mean recall of the classes that have images; of each class: images; recall,
        the share of its images that are answered right, None without images; precision, the share of its answers that
        are right, None without answers.
    """
    images = [sum(row) for row in confusion]
    answers = [sum(column) for column in zip(*confusion, strict=True)]
    right = [row[i] for i, row in enumerate(confusion)]
    recall = [r / n if n else None for r, n in zip(right, images, strict=True)]
    precision = [r / n if n else None for r, n in zip(right, answers, strict=True)]
    occurring = [share for share in recall if share is not None]
    return {
        "confusion": [list(row) for row in confusion],
        "balanced_accuracy": sum(occurring) / len(occurring),
        "recall": recall,
        "precision": precision,
        "images": images,
    }
