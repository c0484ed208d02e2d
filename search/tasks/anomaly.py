"""Anomalies without labels in training: a network that gives back what it is given fails on what it has never seen."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from search.data.data import ANOMALIES, Data
from search.kinds import FINITE, Kind, having
from search.monitor.words import Details, Metric, Words
from search.settings.tasks import AnomalySettings
from search.tasks.base import BaseTask
from search.tasks.checks import refuse_other_shape
from search.tasks.collected import Collected, Figures
from search.tasks.curves import area_under_curve
from search.tasks.task import Scores

FALSE_ALARMS = 0.05
EACH = having({"found": FINITE, "normal_error": FINITE, "anomaly_error": FINITE})


class AnomalyWords:
    """Of anomalies."""

    metric = Metric(name="auc", short="AUC", unit="", factor=1.0, digits=4, highest=1.0)
    kinds: Mapping[str, Kind] = {"anomalies": having({}, {"val": EACH, "test": EACH})}

    def details(self, summary: Mapping[str, Any], most: int) -> Details:
        anomalies = summary.get("anomalies", {})
        splits = {split: anomalies[split] for split in ("val", "test") if split in anomalies}
        if not splits:
            return Details({})
        found = ", ".join(f"{split} {each['found']:.1%}" for split, each in splits.items())
        facts = {f"anomalies found at {FALSE_ALARMS:.0%} of false alarms": found}
        errors = ", ".join(
            f"{split} {each['normal_error']:.4g} and {each['anomaly_error']:.4g}" for split, each in splits.items()
        )
        return Details({**facts, "error of normal examples and of anomalies": errors})


class Anomaly(BaseTask):
    """Targets are 0 for a normal example and 1 for an anomaly: (N,) int64; all of training is normal.

    The network gives back the example that it is given, normalised. How far the two are apart says how likely the
    example is an anomaly; the metric is the area under the ROC curve of that.
    """

    name, targets = "anomaly", ANOMALIES
    words: ClassVar[Words] = AnomalyWords()

    def __init__(self, settings: AnomalySettings, data: Data) -> None:
        super().__init__(settings, data)
        self._shape = data.input_shape
        share = float(data.val.targets.double().mean())
        self._share = share

    def loss(self, outputs: Tensor, targets: Tensor, images: Tensor) -> Tensor:
        """The mean square of what the outputs are apart from the images: (N, *shape) both, in any order of axes."""
        return F.mse_loss(outputs.flatten(1), images.flatten(1))

    def distance(self, outputs: Tensor, taught: Tensor, temperature: float) -> Tensor:
        return F.mse_loss(outputs, taught)

    def scores(self) -> Collected:
        def answer(outputs: Tensor, targets: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
            return (outputs.flatten(1) - images.flatten(1)).square().mean(1), targets

        return Collected(answer, _measured)

    def standard_error(self, value: float, images: int) -> float:
        """Of the area under a ROC curve (Hanley and McNeil, Radiology 1982), with the anomalies of validation."""
        area = min(max(value, 0.01), 0.99)
        anomalies = max(1.0, self._share * images)
        normal = max(1.0, images - anomalies)
        q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
        parts = area * (1 - area) + (anomalies - 1) * (q1 - area**2) + (normal - 1) * (q2 - area**2)
        return math.sqrt(parts / (anomalies * normal))

    def chance(self, targets: Tensor) -> float:
        return 0.5

    def check_output(self, *shapes: tuple[int, ...]) -> None:
        flat = (math.prod(self._shape),)
        because = f"an example of {self._data} is given back"
        refuse_other_shape(shapes, flat if list(shapes) == [flat] else self._shape, because)

    def summary(self, scores: Mapping[str, Scores]) -> dict[str, Any]:
        keys = ("found", "normal_error", "anomaly_error")
        figures = {split: each.figures() for split, each in scores.items()}
        return {"anomalies": {split: {key: each[key] for key in keys} for split, each in figures.items()}}


def _measured(errors: Tensor, targets: Tensor) -> Figures:
    """Args: errors: (N,). targets: (N,)."""
    normal, anomalies = errors[targets != 1], errors[targets == 1]
    if not len(normal) or not len(anomalies):  # of training data, which hold no anomaly
        return {"value": 0.5, "found": 0.0, "normal_error": float(errors.mean()), "anomaly_error": 0.0}
    limit = torch.quantile(normal.double(), 1 - FALSE_ALARMS)
    return {
        "value": area_under_curve(errors, targets),
        "found": float((anomalies > limit).double().mean()),
        "normal_error": float(normal.mean()),
        "anomaly_error": float(anomalies.mean()),
    }
