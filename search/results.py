"""What every strategy leaves behind: a line of results.jsonl for each architecture that it measured."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from search.pareto import hypervolume, knee, on_front
from spaces.architecture import Architecture
from spaces.files import write_text

FORMAT = 1
__all__ = ["Result", "front_knee", "front_volume", "hypervolume", "knee", "on_front", "read_results"]
PACKAGES = ("picojoule", "torch", "numpy", "scipy", "safetensors", "hydra-core")


class RunFolderError(ValueError):
    """A run folder that is in the way, or that is none."""


@dataclass(frozen=True)
class Result:
    """One architecture, measured.

    Attributes:
        metrics: "accuracy/val" (of the integers), "accuracy/val/decided" (before fine-tuning) ...
        costs: name -> exact cost; units: name -> unit.
        seconds: of this evaluation.
        point: of the front; empty where a run has one alone.
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
    versions: Mapping[str, str] = field(default_factory=lambda: versions())

    def to_json(self) -> str:
        document = {"format": FORMAT} | {k: v for k, v in asdict(self).items() if k != "architecture"}
        document["architecture"] = json.loads(self.architecture.to_json())
        return json.dumps(document)

    @staticmethod
    def from_json(text: str) -> "Result":
        """Raises ValueError: no JSON, of another format, or without what a Result has."""
        try:
            document = json.loads(text)
        except ValueError as error:
            raise ValueError(f"is no JSON ({error})") from error
        if not isinstance(document, dict) or document.pop("format", None) != FORMAT:
            raise ValueError(f"is not of format {FORMAT}, which this version writes and reads")
        try:
            architecture = Architecture.from_json(json.dumps(document.pop("architecture")))
            return Result(architecture=architecture, **document)
        except (KeyError, TypeError) as error:
            raise ValueError(f"is no result ({error})") from error


def front_volume(costs: Sequence[float], accuracies: Sequence[float], seed_cost: float) -> float:
    """Hypervolume over log2 of a cost and accuracy, against the seed network's cost and an accuracy of 0.

    The best accuracy that a limit on the cost allows, summed over octaves of that limit up to the seed network's cost.
    """
    points = np.column_stack([np.log2(np.asarray(costs, dtype=np.float64) / seed_cost), -np.asarray(accuracies)])
    return hypervolume(points, np.zeros(2))


def front_knee(costs: Sequence[float], accuracies: Sequence[float]) -> int:
    """Index of the point at which the front bends, over the logarithm of a cost and accuracy."""
    return knee(np.column_stack([np.log2(np.asarray(costs, dtype=np.float64)), -np.asarray(accuracies)]))


def versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "source tree"
    return found


def write_results(path: Path, results: list[Result]) -> None:
    write_text(path, "".join(r.to_json() + "\n" for r in results))


def read_results(path: Path) -> tuple[list[Result], list[str]]:
    """All results that can be read, and for every line that cannot be, where it is and why.

    Raises:
        ValueError: there is no such file.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file. A run writes results.jsonl into its folder.")
    results, faults = [], []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            results.append(Result.from_json(line))
        except ValueError as error:
            faults.append(f"{path}, line {number}: {error}")
    return results, faults
