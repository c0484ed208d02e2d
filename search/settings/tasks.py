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


@dataclass
class RegressionSettings:
    """Numbers of each example.

    Attributes:
        loss: "mse", squared errors, or "mae", magnitudes, which outliers move less.
    """

    name: str = "regression"
    loss: str = "mse"

    def __post_init__(self) -> None:
        require("task.loss", self.loss, self.loss in ("mse", "mae"), "'mse' or 'mae'")


@dataclass
class TaggingSettings:
    """Several tags of each example at once.

    Attributes:
        tag_weights: null: every image counts the same; "balanced": the images that have a tag weigh as much together as
            those that lack it.
    """

    name: str = "tagging"
    tag_weights: str | None = None

    def __post_init__(self) -> None:
        require("task.tag_weights", self.tag_weights, self.tag_weights in (None, BALANCED), f"null or '{BALANCED}'")


@dataclass
class SegmentationSettings:
    """A class at each place of an example.

    Attributes:
        class_weights: null: every place counts the same; "balanced": every class does.
    """

    name: str = "segmentation"
    class_weights: str | None = None

    def __post_init__(self) -> None:
        require(
            "task.class_weights", self.class_weights, self.class_weights in (None, BALANCED), f"null or '{BALANCED}'"
        )


@dataclass
class AnomalySettings:
    """What is not as the examples of training, by a network that gives back what it is given."""

    name: str = "anomaly"


@dataclass
class CustomSettings:
    """A task of the user's own.

    Attributes:
        kind: name of a class that derives from search.tasks.CustomTask, with its module: my_package.MyTask.
    """

    kind: str
    name: str = "custom"


def _weighs(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value) and value > 0
