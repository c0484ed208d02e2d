"""What every strategy leaves: a line of results.jsonl for each architecture that it measured."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from search.atomic import write_text
from search.errors import UsageError
from search.files.documents import check_format, json_object, read_lines
from search.files.versions import versions
from search.kinds import FINITE, OBJECT, TEXT, TRUTH, WHOLE, by_name, unlike
from spaces.architecture import Architecture

RESULTS_FILE, FORMAT = "results.jsonl", 1
KINDS = {
    "strategy": TEXT,
    "seed": WHOLE,
    "architecture": OBJECT,
    "metrics": by_name(FINITE),
    "costs": by_name(FINITE),
    "units": by_name(TEXT),
    "budgets": by_name(FINITE),
    "met": TRUTH,
    "seconds": FINITE,
    "point": TEXT,
    "metric": TEXT,
    "versions": by_name(TEXT),
}
OPTIONAL = ("point", "metric", "versions")
FIRST_METRIC = "accuracy"  # of lines that name none: classification was the only task when they were written


@dataclass(frozen=True)
class Result:
    """One architecture, measured.

    Attributes:
        metrics: "accuracy/val" (of the integers), "accuracy/val/decided" (before fine-tuning) ...
        costs: name -> exact cost.
        units: name -> unit of the cost.
        seconds: how long this evaluation took.
        point: of the front; empty where a run has one alone.
        metric: the one that networks are chosen by, on validation data: "accuracy" chooses by "accuracy/val".
    """

    strategy: str
    seed: int
    architecture: Architecture
    metrics: Mapping[str, float]
    costs: Mapping[str, float]
    units: Mapping[str, str]
    budgets: Mapping[str, float]
    met: bool
    seconds: float
    point: str = ""
    metric: str = FIRST_METRIC
    versions: Mapping[str, str] = field(default_factory=versions)

    @property
    def selected(self) -> float:
        """What networks are chosen by: the highest is the best."""
        return self.metrics[_selected(self.metric)]

    def to_json(self) -> str:
        document = {"format": FORMAT} | {k: v for k, v in asdict(self).items() if k != "architecture"}
        document["architecture"] = json.loads(self.architecture.to_json())
        return json.dumps(document)

    @staticmethod
    def from_json(text: str) -> "Result":
        """The result that a line holds.

        Raises:
            UsageError: the line is no JSON, is of another format, or lacks what a Result has.
        """
        document = json_object(text)
        check_format(document, FORMAT)
        kinds = {name: kind for name, kind in KINDS.items() if name in document or name not in OPTIONAL}
        wrong = [
            *unlike(document, kinds).values(),
            *(f"{name} is unknown" for name in sorted(document.keys() - KINDS.keys() - {"format"})),
        ]
        selected = _selected(document.get("metric", FIRST_METRIC))
        if not wrong and selected not in document["metrics"]:
            wrong = [f"metrics have no '{selected}', by which networks are chosen"]
        if wrong:
            raise UsageError(f"is no result: {'; '.join(wrong)}")
        architecture = Architecture.from_json(json.dumps(document["architecture"]))
        return Result(**{name: document[name] for name in kinds} | {"architecture": architecture})


def _selected(metric: str) -> str:
    return f"{metric}/val"


def write_results(path: Path, results: list[Result]) -> None:
    write_text(path, "".join(r.to_json() + "\n" for r in results))


def read_results(path: Path) -> tuple[list[Result], list[str]]:
    """All results that can be read, and for every line that cannot be read, where it is and why.

    Raises:
        UsageError: there is no such file.
    """
    return read_lines(path, Result.from_json)
