"""How the terminal and the report word a classification."""

from collections.abc import Mapping, Sequence
from typing import Any

from search.kinds import FINITE, TEXT, WHOLE, Kind, having, listed
from search.monitor.words import Details, Metric
from search.tasks.class_scores import figures_of

HEAD = ("class", "images", "recall", "precision", "most often taken for")
IS_TEXT = (True, False, False, False, True)
CAPTION = (
    "Recall is the share of a class's images that are answered right, precision the share of the answers of a class "
    "that are right. The last column is the class that most of the wrong answers give, and their share of its images."
)
NOTHING = "-"


BALANCED = {"balanced_accuracy": FINITE}
SHAPE = having(
    {"names": listed(TEXT)},
    {"val": having(BALANCED), "test": having({**BALANCED, "confusion": listed(listed(WHOLE))})},
)


def _holds(value: Any) -> bool:
    """Whether it is of this shape, with a confusion matrix of as many rows and columns as there are names."""
    if not SHAPE.holds(value):
        return False
    rows, count = value.get("test", {}).get("confusion"), len(value["names"])
    if rows is None:
        return True
    whole = len(rows) == count and all(len(row) == count and min(row, default=0) >= 0 for row in rows)
    return whole and sum(map(sum, rows)) > 0


class ClassWords:
    metric = Metric(name="accuracy", short="acc", unit="%", factor=100.0, digits=2, highest=1.0)
    kinds: Mapping[str, Kind] = {"classes": Kind("names of classes and a confusion matrix of them", _holds)}

    def details(self, summary: Mapping[str, Any], most: int) -> Details:
        """Balanced accuracy, and a table with the classes: all of them, or those of lowest recall."""
        classes = summary.get("classes", {})
        splits = {split: classes[split]["balanced_accuracy"] for split in ("val", "test") if split in classes}
        worded = ", ".join(f"{split} {self.metric.written(value)}" for split, value in splits.items())
        facts = {"balanced accuracy": worded} if worded else {}
        if "test" not in classes:
            return Details(facts)
        test, names = figures_of(classes["test"]["confusion"]), classes["names"]
        title, shown = "classes on test data", list(range(len(names)))
        if len(names) > most:
            title, shown = f"{title}, the {most} of lowest recall among {len(names)}", worst(test["recall"], most)
        rows = tuple(self._row(names, test, i) for i in shown)
        return Details(facts, self._caution(test), title, HEAD, IS_TEXT, rows, CAPTION)

    def _caution(self, test: Mapping[str, Any]) -> str:
        """The balanced accuracy, where accuracy is more than a point above it and so hides classes that fare badly."""
        right = sum(row[number] for number, row in enumerate(test["confusion"]))
        balanced = test["balanced_accuracy"]
        hides = right / sum(test["images"]) - balanced > self.metric.point
        return f"balanced over classes {self.metric.written(balanced)}" if hides else ""

    def _row(self, names: Sequence[str], test: Mapping[str, Any], number: int) -> tuple[str, ...]:
        shares = (test[key][number] for key in ("recall", "precision"))
        worded = (NOTHING if share is None else self.metric.written(share) for share in shares)
        images = test["images"][number]
        return names[number], f"{images:,}", *worded, self._taken_for(names, test["confusion"][number], number)

    def _taken_for(self, names: Sequence[str], row: Sequence[int], number: int) -> str:
        """The class that most of the wrong answers name, and its share of the images."""
        wrong = [count if i != number else 0 for i, count in enumerate(row)]
        most = max(wrong)
        return f"{names[wrong.index(most)]}, {self.metric.written(most / sum(row))}" if most else NOTHING


def worst(recall: Sequence[float | None], most: int) -> list[int]:
    """Numbers of the classes of lowest recall, the lowest first; classes without images are left out."""
    having = [(share, number) for number, share in enumerate(recall) if share is not None]
    return [number for _, number in sorted(having)[:most]]
