"""How the terminal and the report word a classification."""

from collections.abc import Mapping, Sequence
from typing import Any

from search.monitor.words import Details, Metric

HEAD = ("class", "images", "recall", "precision", "most often taken for")
IS_TEXT = (True, False, False, False, True)
NOTHING = "-"


class ClassWords:
    metric = Metric(name="accuracy", short="acc", unit="%", factor=100.0, digits=2)

    def details(self, summary: Mapping[str, Any], most: int) -> Details:
        """Balanced accuracy, and a table with the classes: all of them, or those of lowest recall."""
        classes = summary.get("classes", {})
        splits = {split: classes[split]["balanced_accuracy"] for split in ("val", "test") if split in classes}
        worded = ", ".join(f"{split} {self.metric.written(value)}" for split, value in splits.items())
        facts = {"balanced accuracy": worded} if worded else {}
        if "test" not in classes:
            return Details(facts)
        test, names = classes["test"], classes["names"]
        title, shown = "classes on test data", list(range(len(names)))
        if len(names) > most:
            title, shown = f"{title}, the {most} of lowest recall among {len(names)}", worst(test["recall"], most)
        return Details(facts, title, HEAD, IS_TEXT, tuple(self._row(names, test, i) for i in shown))

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
