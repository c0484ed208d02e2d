"""Tasks. A new one is a file here, its settings, its line in each of these dicts, and its YAML in conf/task."""

from search.settings.tasks import (
    AnomalySettings,
    ClassificationSettings,
    CustomSettings,
    RegressionSettings,
    SegmentationSettings,
    TaggingSettings,
)
from search.tasks.anomaly import Anomaly
from search.tasks.classification import Classification
from search.tasks.custom import CustomTask
from search.tasks.regression import Regression
from search.tasks.segmentation import Segmentation
from search.tasks.tagging import Tagging
from search.tasks.task import Scores, Task

TASKS: dict[str, type[Task]] = {
    "classification": Classification,
    "regression": Regression,
    "tagging": Tagging,
    "segmentation": Segmentation,
    "anomaly": Anomaly,
    "custom": CustomTask,
}
SETTINGS = {
    "classification": ClassificationSettings,
    "regression": RegressionSettings,
    "tagging": TaggingSettings,
    "segmentation": SegmentationSettings,
    "anomaly": AnomalySettings,
    "custom": CustomSettings,
}

__all__ = ["SETTINGS", "TASKS", "CustomTask", "Scores", "Task"]
