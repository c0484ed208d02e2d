"""What every task refuses."""

from collections.abc import Sequence

from search.data.data import Data
from search.errors import UsageError

TASK_OF = {
    "labels": "classification",
    "numbers": "regression",
    "tags": "tagging",
    "masks": "segmentation",
    "anomalies": "anomaly",
}


def refuse_other_targets(task: str, data: Data, *kinds: str) -> None:
    """Raises UsageError where the data's targets are of another kind than a task learns."""
    if data.targets not in kinds:
        raise UsageError(
            f"task '{task}' learns {' or '.join(kinds)}; {data.name} has {data.targets}. Choose "
            f"task={TASK_OF.get(data.targets, 'custom')}, or set data.targets to what they are."
        )


def refuse_other_shape(found: Sequence[tuple[int, ...]], needed: tuple[int, ...], because: str) -> None:
    """Raises UsageError where a network has other outputs than one of this shape."""
    if list(found) != [needed]:
        raise UsageError(
            f"model: its output has shape {written(*found)}; {because}, so {written(needed)} is needed. Change the "
            "last layer."
        )


def written(*shapes: tuple[int, ...]) -> str:
    """(N, 3) and (N, 4, 4)"""
    return " and ".join(f"({', '.join(map(str, ('N', *shape)))})" for shape in shapes)
