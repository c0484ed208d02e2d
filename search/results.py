"""What every strategy leaves behind: a line of results.jsonl for each architecture that it measured."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from spaces.architecture import Architecture
from spaces.files import write_text

PACKAGES = ("picojoule", "torch", "numpy", "scipy", "safetensors", "hydra-core")


@dataclass(frozen=True)
class Result:
    """One architecture, measured.

    Attributes:
        metrics: "accuracy/val" (of the integers), "accuracy/val/decided" (before fine-tuning) ...
        costs: name -> exact cost; units: name -> unit.
        seconds: of this evaluation.
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
    versions: Mapping[str, str] = field(default_factory=lambda: versions())

    def to_json(self) -> str:
        document = {k: v for k, v in asdict(self).items() if k != "architecture"}
        document["architecture"] = json.loads(self.architecture.to_json())
        return json.dumps(document)


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
