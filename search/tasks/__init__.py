"""Tasks. A new one is a file here, its settings, its line in each of these dicts, and its YAML in conf/task."""

from search.settings.tasks import ClassificationSettings
from search.tasks.classification import Classification
from search.tasks.task import Scores, Task

TASKS: dict[str, type[Task]] = {
    "classification": Classification,
}
SETTINGS = {
    "classification": ClassificationSettings,
}

__all__ = ["SETTINGS", "TASKS", "Scores", "Task"]
