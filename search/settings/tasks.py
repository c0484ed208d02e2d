"""What each task can be told; see search.settings.run."""

from dataclasses import dataclass
from math import isfinite
from typing import Any

from search.settings.require import require

BALANCED = "balanced"


@dataclass
class ClassificationSettings:
    """One of several classes for each image.

    Attributes:
        class_weights: null: every image counts the same in the loss; "balanced": every class counts the same, an image
            of a class weighs n / (classes * images of the class), counted in training data; or a list with a number
            for each class. The label smoothing of the loss is train.label_smoothing.
    """

    name: str = "classification"
    class_weights: Any = None

    def __post_init__(self) -> None:
        given = self.class_weights
        holds = given in (None, BALANCED) or (isinstance(given, list) and bool(given) and all(map(_weighs, given)))
        allowed = f"null, '{BALANCED}', or a list with a number over 0 for each class"
        require("task.class_weights", given, holds, allowed)


def _weighs(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value) and value > 0
