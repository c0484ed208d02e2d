"""Numbers of each example: squared or absolute error, the coefficient of determination, errors in their own unit."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from search.data.data import NUMBERS, Data
from search.integer.answers import Answers
from search.kinds import FINITE, TEXT, Kind, having, listed
from search.monitor.words import Details, Metric, Words
from search.settings.tasks import RegressionSettings
from search.tasks.base import BaseTask
from search.tasks.checks import refuse_other_shape
from search.tasks.collected import Collected, Figures
from search.tasks.constant import Constant
from search.tasks.task import Scores

LOSSES = {"mse": F.mse_loss, "mae": F.l1_loss}
ERRORS = having({"mae": listed(FINITE), "rmse": listed(FINITE)})
SHAPE = having({"names": listed(TEXT), "test": ERRORS}, {"val": ERRORS})


class NumberWords:
    """Of numbers."""

    metric = Metric(name="r2", short="R2", unit="", factor=1.0, digits=4, highest=1.0)
    kinds: Mapping[str, Kind] = {"numbers": SHAPE}

    def details(self, summary: Mapping[str, Any], most: int) -> Details:
        numbers = summary.get("numbers")
        if numbers is None:
            return Details({})
        splits = [split for split in ("val", "test") if split in numbers]
        mean = {split: sum(numbers[split]["mae"]) / len(numbers["names"]) for split in splits}
        facts = {"mean absolute error": ", ".join(f"{split} {value:.4g}" for split, value in mean.items())}
        test = numbers["test"]
        rows = [
            (name, f"{mae:.4g}", f"{rmse:.4g}")
            for name, mae, rmse in zip(numbers["names"], test["mae"], test["rmse"], strict=True)
        ]
        caption = "Errors have the unit of the number: the mean of their magnitudes, and the root of their mean square."
        head = ("number", "mean absolute error", "root mean square error")
        return Details(facts, "", "numbers on test data", head, (True, False, False), tuple(rows[:most]), caption)


class Regression(BaseTask):
    """Targets are numbers: (N, k) float32. They are learned in standard deviations from their mean in training.

    The program holds that scale, so that what it predicts has the numbers' own unit.
    """

    name, targets = "regression", NUMBERS
    words: ClassVar[Words] = NumberWords()

    def __init__(self, settings: RegressionSettings, data: Data) -> None:
        super().__init__(settings, data)
        targets = data.train.targets.double()
        self._mean = targets.mean(0)
        deviation = targets.std(0, unbiased=False)
        self._std = torch.where(deviation > 0, deviation, torch.ones_like(deviation))
        self._scale = Constant(torch.stack([self._mean, self._std]))
        self._loss = settings.loss
        self.facts = {"loss": settings.loss}

    @property
    def answers(self) -> Answers:
        """What becomes of outputs: numbers in their own unit."""
        return Answers(tuple(self._mean.tolist()), tuple(self._std.tolist()))

    def loss(self, outputs: Tensor, targets: Tensor, images: Tensor) -> Tensor:
        """The mean of squares or magnitudes of errors, in standard deviations. Args: outputs, targets: (N, k)."""
        return LOSSES[self._loss](outputs, self._standard(targets))

    def distance(self, outputs: Tensor, taught: Tensor, temperature: float) -> Tensor:
        """The same between two networks; numbers have no temperature."""
        return LOSSES[self._loss](outputs, taught)

    def scores(self) -> Collected:
        return Collected(lambda outputs, targets, _: (outputs, targets), self._measured)

    def _measured(self, outputs: Tensor, targets: Tensor) -> Figures:
        """R2 is one less the share of the numbers' variance that is left, the mean over the numbers."""
        found = outputs.double().cpu() * self._std + self._mean
        wanted = targets.double().cpu()
        errors = found - wanted
        left, whole = errors.square().mean(0), (wanted - wanted.mean(0)).square().mean(0)
        r2 = 1 - left / whole.clamp(min=1e-30)
        return {
            "value": r2.mean().item(),
            "mae": errors.abs().mean(0).tolist(),
            "rmse": left.sqrt().tolist(),
        }

    def standard_error(self, value: float, images: int) -> float:
        """Of R2 (Olkin and Finn, Psychological Bulletin 1995): 2 R (1 - R2) / sqrt(n), of R2 held in 0.01..0.99."""
        share = min(max(value, 0.01), 0.99)
        return 2 * math.sqrt(share) * (1 - share) / math.sqrt(images)

    def chance(self, targets: Tensor) -> float:
        """The best constant explains nothing."""
        return 0.0

    def check_output(self, *shapes: tuple[int, ...]) -> None:
        refuse_other_shape(shapes, (len(self._names),), f"{self._data} has {len(self._names)} numbers an example")

    def summary(self, scores: Mapping[str, Scores]) -> dict[str, Any]:
        figures = {split: each.figures() for split, each in scores.items()}
        errors = {split: {key: each[key] for key in ("mae", "rmse")} for split, each in figures.items()}
        return {"numbers": {"names": list(self._names), **errors}}

    def _standard(self, targets: Tensor) -> Tensor:
        mean, std = self._scale.on(targets.device).unbind()
        return ((targets.double() - mean) / std).to(targets.dtype)
