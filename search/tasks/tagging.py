"""Several tags of each example at once: sigmoids, mean average precision, and F1 of each tag."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from search.data.data import TAGS, Data
from search.kinds import FINITE, TEXT, WHOLE, Kind, having, listed
from search.monitor.words import Details, Metric, Words
from search.settings.tasks import BALANCED, TaggingSettings
from search.tasks.base import BaseTask, error_of_share
from search.tasks.checks import refuse_other_shape
from search.tasks.collected import Collected, Figures
from search.tasks.constant import Constant
from search.tasks.curves import average_precision
from search.tasks.task import Scores

EACH = having({"average_precision": listed(FINITE), "f1": listed(FINITE), "images": listed(WHOLE)})
SHAPE = having({"names": listed(TEXT), "test": EACH}, {"val": having({"macro_f1": FINITE})})


class TagWords:
    """Of tags."""

    metric = Metric(name="map", short="mAP", unit="%", factor=100.0, digits=2, highest=1.0)
    kinds: Mapping[str, Kind] = {"tags": SHAPE}

    def details(self, summary: Mapping[str, Any], most: int) -> Details:
        tags = summary.get("tags")
        if tags is None:
            return Details({})
        splits = {split: tags[split]["macro_f1"] for split in ("val", "test") if "macro_f1" in tags.get(split, {})}
        facts = {"mean F1": ", ".join(f"{split} {self.metric.written(value)}" for split, value in splits.items())}
        test = tags["test"]
        order = sorted(range(len(tags["names"])), key=lambda i: test["average_precision"][i])
        rows = [
            (tags["names"][i], f"{test['images'][i]:,}", *(self.metric.written(test[key][i]) for key in KEYS))
            for i in (order if len(order) > most else sorted(order))[:most]
        ]
        head = ("tag", "images", "average precision", "F1")
        caption = (
            "Average precision is the mean of the precision at each image that has the tag, by falling outputs. "
            "F1 is the harmonic mean of precision and recall where an output over 0 says that the tag is there."
        )
        return Details(facts, "", "tags on test data", head, (True, False, False, False), tuple(rows), caption)


KEYS = ("average_precision", "f1")


class Tagging(BaseTask):
    """Targets are 0 or 1 for each tag: (N, k) float32. The metric is the mean over the tags of average precision."""

    name, targets = "tagging", TAGS
    words: ClassVar[Words] = TagWords()

    def __init__(self, settings: TaggingSettings, data: Data) -> None:
        super().__init__(settings, data)
        share = data.train.targets.double().mean(0)
        self._weights = Constant(((1 - share) / share).float()) if settings.tag_weights == BALANCED else None
        self.facts = {"tag_weights": settings.tag_weights}
        self.against_one_answer = "" if self._weights is not None else RARE if float(share.min()) < RARE_SHARE else ""

    def loss(self, outputs: Tensor, targets: Tensor, images: Tensor) -> Tensor:
        """The mean of binary cross-entropies. Args: outputs: (N, k), logits. targets: (N, k)."""
        weights = None if self._weights is None else self._weights.on(outputs.device)
        return F.binary_cross_entropy_with_logits(outputs, targets, pos_weight=weights)

    def distance(self, outputs: Tensor, taught: Tensor, temperature: float) -> Tensor:
        """T^2 times the mean divergence of the teacher's probabilities at temperature T from the network's."""
        wanted = torch.sigmoid(taught / temperature)
        given = F.binary_cross_entropy_with_logits(outputs / temperature, wanted)
        own = F.binary_cross_entropy_with_logits(taught / temperature, wanted)
        return (given - own) * temperature**2

    def scores(self) -> Collected:
        return Collected(lambda outputs, targets, _: (outputs, targets), _measured)

    def standard_error(self, value: float, images: int) -> float:
        """As of a share: average precision is a mean of shares, of fewer images than there are."""
        return error_of_share(value, images)

    def chance(self, targets: Tensor) -> float:
        """The mean share of images that have a tag: the precision of any order that does not look. targets: (N, k)."""
        return float(targets.double().mean())

    def check_output(self, *shapes: tuple[int, ...]) -> None:
        refuse_other_shape(shapes, (len(self._names),), f"{self._data} has {len(self._names)} tags")

    def summary(self, scores: Mapping[str, Scores]) -> dict[str, Any]:
        figures = {split: each.figures() for split, each in scores.items()}
        found: dict[str, Any] = {"names": list(self._names)}
        for split, each in figures.items():
            keys = ("macro_f1", *KEYS, "images") if split == "test" else ("macro_f1",)
            found[split] = {key: each[key] for key in keys}
        return {"tags": found}


RARE_SHARE = 0.1
RARE = f"Some tags are rare: task.tag_weights={BALANCED} makes an image that has a tag weigh as much as those without."


def _measured(outputs: Tensor, targets: Tensor) -> Figures:
    """Args: (N, k) both."""
    precision = [average_precision(outputs[:, i], targets[:, i]) for i in range(outputs.shape[1])]
    said, there = outputs > 0, targets > 0
    right = (said & there).sum(0).double()
    f1 = 2 * right / (said.sum(0) + there.sum(0)).clamp(min=1)
    return {
        "value": sum(precision) / len(precision),
        "average_precision": precision,
        "f1": f1.tolist(),
        "macro_f1": f1.mean().item(),
        "images": there.sum(0).tolist(),
    }
