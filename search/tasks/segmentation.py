"""A class at each place of an example: cross-entropy, mean intersection over union, and that of each class."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from search import distributed
from search.data.data import MASKS, Data
from search.data.targets import IGNORED
from search.kinds import FINITE, NOTHING, TEXT, Kind, either, having, listed
from search.monitor.words import Details, Metric, Words
from search.settings.tasks import BALANCED, SegmentationSettings
from search.tasks.base import BaseTask, error_of_share
from search.tasks.checks import refuse_other_shape
from search.tasks.constant import Constant
from search.tasks.task import Scores

SHARES = listed(either(FINITE, NOTHING))
SHAPE = having({"names": listed(TEXT), "test": having({"iou": SHARES, "accuracy": FINITE})})


class MaskWords:
    """Of masks."""

    metric = Metric(name="miou", short="mIoU", unit="%", factor=100.0, digits=2, highest=1.0)
    kinds: Mapping[str, Kind] = {"masks": SHAPE}

    def details(self, summary: Mapping[str, Any], most: int) -> Details:
        masks = summary.get("masks")
        if masks is None:
            return Details({})
        test = masks["test"]
        facts = {"places that are right": f"test {self.metric.written(test['accuracy'])}"}
        known = [(iou, name) for name, iou in zip(masks["names"], test["iou"], strict=True) if iou is not None]
        rows = [
            (name, self.metric.written(iou)) for iou, name in (sorted(known)[:most] if len(known) > most else known)
        ]
        caption = (
            "Intersection over union: the places where mask and answer have the class, over those where one has it."
        )
        head = ("class", "intersection over union")
        return Details(facts, "", "classes on test data", head, (True, False), tuple(rows), caption)


class Segmentation(BaseTask):
    """Targets are the number of the class at each place: (N, *size) int64; places of 255 count nowhere."""

    name, targets = "segmentation", MASKS
    words: ClassVar[Words] = MaskWords()
    scores_classes = True

    def __init__(self, settings: SegmentationSettings, data: Data) -> None:
        super().__init__(settings, data)
        self._size = data.input_shape[1:]
        targets = data.train.targets
        counts = torch.bincount(targets[targets != IGNORED], minlength=len(self._names)).double()
        balanced = counts.sum() / (len(self._names) * counts.clamp(min=1))
        self._weights = Constant(balanced.float()) if settings.class_weights == BALANCED else None
        self._ignores = any(bool((split.targets == IGNORED).any()) for split in (data.train, data.val, data.test))
        self.facts = {"class_weights": settings.class_weights}
        self.against_one_answer = "" if self._weights is not None else EVEN

    def loss(self, outputs: Tensor, targets: Tensor, images: Tensor) -> Tensor:
        """Cross-entropy over all places. Args: outputs: (N, classes, *size), logits. targets: (N, *size)."""
        weights = None if self._weights is None else self._weights.on(outputs.device)
        total = F.cross_entropy(outputs, targets, weights, ignore_index=IGNORED, reduction="sum")
        if weights is None:
            share = (targets != IGNORED).sum().to(total.dtype)
        else:  # where places are left out, how many are left is read of the device
            share = weights[targets[targets != IGNORED] if self._ignores else targets.flatten()].sum()
        return total / distributed.mean_(share.detach().clone()).clamp(min=1e-12)

    def distance(self, outputs: Tensor, taught: Tensor, temperature: float) -> Tensor:
        """T^2 KL(taught || outputs) at temperature T, the mean over places."""
        wanted = F.log_softmax(taught / temperature, 1)
        given = F.log_softmax(outputs / temperature, 1)
        each = F.kl_div(given, wanted, reduction="none", log_target=True).sum(1)
        return each.mean() * temperature**2

    def scores(self) -> "MaskScores":
        return MaskScores(len(self._names))

    def standard_error(self, value: float, images: int) -> float:
        """As of a share of images: places of one image are not independent."""
        return error_of_share(value, images)

    def chance(self, targets: Tensor) -> float:
        """Of the most frequent class at all places: its share of them, the mean over the classes."""
        counts = torch.bincount(targets[targets != IGNORED].flatten(), minlength=len(self._names)).double()
        return float(counts.max() / counts.sum().clamp(min=1) / int((counts > 0).sum().clamp(min=1)))

    def check_output(self, *shapes: tuple[int, ...]) -> None:
        needed = len(self._names), *self._size
        refuse_other_shape(shapes, needed, f"{self._data} has {len(self._names)} classes at each place")

    def summary(self, scores: Mapping[str, Scores]) -> dict[str, Any]:
        figures = scores["test"].figures()
        return {"masks": {"names": list(self._names), "test": {key: figures[key] for key in ("iou", "accuracy")}}}


EVEN = f"Classes take different shares of the places: task.class_weights={BALANCED} makes every class count the same."


class MaskScores:
    """Counts of places by class and answer; they stay on the device until a figure is asked for."""

    def __init__(self, classes: int) -> None:
        self._classes = classes
        self._counts: Tensor | None = None

    def add(self, outputs: Tensor, targets: Tensor, images: Tensor) -> None:
        """Args: outputs: (N, classes, *size), logits. targets: (N, *size)."""
        answers = outputs.detach().argmax(1)
        # Places that count nowhere are counted behind all others. A sum of ones does not wait for the device.
        where = torch.where(targets == IGNORED, self._classes**2, targets * self._classes + answers).flatten()
        counts = torch.zeros(self._classes**2 + 1, dtype=torch.int64, device=where.device)
        counts.scatter_add_(0, where, torch.ones_like(where))
        self._counts = counts if self._counts is None else self._counts + counts

    @property
    def value(self) -> float:
        return float(self.figures()["value"])

    @property
    def own_value(self) -> float:
        assert self._counts is not None
        return float(_measured(self._counts.tolist(), self._classes)["value"])

    def figures(self) -> dict[str, Any]:
        assert self._counts is not None
        whole = distributed.summed(self._counts.tolist(), self._counts.device)
        return _measured(whole, self._classes)


def _measured(counts: list[float], classes: int) -> dict[str, Any]:
    table = torch.tensor(counts[:-1], dtype=torch.float64).view(classes, classes)  # [class][answer]
    right, either_ = table.diag(), table.sum(0) + table.sum(1) - table.diag()
    occurring = either_ > 0
    iou = right / either_.clamp(min=1)
    return {
        "value": float(iou[occurring].mean()) if bool(occurring.any()) else 0.0,
        "iou": [share if there else None for share, there in zip(iou.tolist(), occurring.tolist(), strict=True)],
        "accuracy": float(right.sum() / table.sum().clamp(min=1)),
    }
