"""What a run folder holds, as plain values. Damaged parts are named, and the rest is read."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml

from search.errors import UsageError
from search.files.documents import json_object
from search.files.results import RESULTS_FILE, Result, read_results
from search.files.run_folders import RunFolderError
from search.files.urls import without_password
from search.kinds import FINITE, NOTHING, OBJECT, WHOLE, by_name, either, unlike
from search.monitor.events import EpochEnd
from search.monitor.history import HISTORY_FILE, read_history
from search.report.summaries import SUMMARY_FILE, entries, read_summary
from search.settings.tasks import ClassificationSettings
from search.strategies.sensitivity.table import FILE as SENSITIVITY_FILE
from search.strategies.sensitivity.table import StoredDecision, decisions_of
from search.tasks import TASKS
from spaces.architecture import Architecture

T = TypeVar("T")

CONFIG_FILE = "config.yaml"
ARCHITECTURE_FILE, MODEL_FILE = "architecture.json", "model.safetensors"
RUN_FILES = (SUMMARY_FILE, RESULTS_FILE, HISTORY_FILE, CONFIG_FILE)
UNKNOWN = "unknown strategy"
FIRST_TASK = asdict(ClassificationSettings())  # of runs from before tasks were among the settings
SETTINGS = {name: OBJECT for name in ("data", "model", "task", "space", "target", "strategy", "front")} | {
    "budgets": by_name(either(FINITE, NOTHING)),
    "seed": WHOLE,
}


@dataclass(frozen=True)
class RunPoint:
    """An architecture that was trained.

    Attributes:
        folder: where its files are; None for an architecture that was measured and not exported.
        scores: "float", "decided", "integer" -> split -> value of the metric.
        costs: name -> "found", "unit", and "seed_network" where it is known.
        summary: what its summary.json holds.
    """

    architecture: Architecture | None
    budgets: Mapping[str, float]
    costs: Mapping[str, Mapping[str, Any]]
    scores: Mapping[str, Mapping[str, float]]
    lambdas: Mapping[str, float] = field(default_factory=dict)
    folder: Path | None = None
    summary: Mapping[str, Any] = field(default_factory=dict)

    def of_integers(self, split: str) -> float | None:
        return self.scores.get("integer", {}).get(split)


@dataclass(frozen=True)
class RunRecord:
    """A run, as its folder shows it.

    Attributes:
        name: which several runs can share.
        task: the name of its task, one of TASKS.
        finished: whether it has a summary.
        settings: what config.yaml holds; empty where there is none.
        command: the command that started it; "" where it is not known.
        sensitivity: decision -> "options" and "loss_increase", a row a group.
        faults: what could not be read, and where.
    """

    folder: Path
    name: str
    task: str
    strategy: str
    seed: int
    finished: bool
    summary: Mapping[str, Any]
    settings: Mapping[str, Any]
    settings_text: str
    command: str
    versions: Mapping[str, str]
    history: list[EpochEnd]
    points: list[RunPoint]
    sensitivity: Mapping[str, StoredDecision]
    faults: list[str]


def read_run(folder: Path) -> RunRecord:
    """The run in a folder.

    Raises:
        RunFolderError: it is no run folder, its summary is damaged, or this version does not know its task.
    """
    if not any((folder / name).is_file() for name in RUN_FILES):
        below = sorted({str(path.parent) for name in RUN_FILES for path in folder.glob(f"*/{name}")})
        hint = f"Below it there are {', '.join(below)}." if below else "Name a folder that a run has written."
        raise RunFolderError(f"'{folder}': no run folder: it has none of {', '.join(RUN_FILES)}. {hint}")
    faults: list[str] = []
    summary = read_summary(folder / SUMMARY_FILE, faults)
    results = _lines(folder / RESULTS_FILE, read_results, faults)
    settings, text, command = _settings(folder / CONFIG_FILE, faults)
    task = _task(folder / CONFIG_FILE, settings)
    points = _exported(folder / SUMMARY_FILE, summary, TASKS[task].words.metric.name, faults)
    known = {point.architecture.hash for point in points if point.architecture}
    points += [_unexported(result) for result in results if result.architecture.hash not in known]
    return RunRecord(
        folder=folder,
        name=str(settings.get("name") or summary.get("experiment") or folder.name),
        task=task,
        strategy=results[0].strategy if results else str(settings.get("strategy", {}).get("name", UNKNOWN)),
        seed=summary.get("seed", settings.get("seed", 0)),
        finished=bool(summary),
        summary=summary,
        settings=settings,
        settings_text=text,
        command=command,
        versions=summary.get("versions") or (dict(results[0].versions) if results else {}),
        history=_lines(folder / HISTORY_FILE, read_history, faults),
        points=points,
        sensitivity=_sensitivity(folder / SENSITIVITY_FILE, faults),
        faults=faults,
    )


def _lines(path: Path, read: Callable[[Path], tuple[list[T], list[str]]], faults: list[str]) -> list[T]:
    """The lines that can be read of a file, which may be missing."""
    if not path.is_file():
        return []
    found, wrong = read(path)
    faults += [f"{fault}; the other lines are used. Restore that line, or delete it." for fault in wrong]
    return found


def _settings(path: Path, faults: list[str]) -> tuple[dict[str, Any], str, str]:
    """The settings, the text of the file, and the command in its first comment, all of them without passwords."""
    if not path.is_file():
        return {}, "", ""
    text = without_password(path.read_text(encoding="utf-8", errors="replace"))
    lines = text.splitlines()
    comment = next((i for i, line in enumerate(lines) if not line.startswith("# ")), len(lines))
    command = "\n".join(line[2:] for line in lines[:comment])
    try:
        settings = yaml.safe_load(text)
        if not isinstance(settings, dict):
            raise UsageError("no keys")
    except (yaml.YAMLError, ValueError) as error:
        said = " ".join(str(error).split())
        faults.append(f"{path}: is damaged ({said}); the report does without settings. Restore it.")
        return {}, "", command
    wrong = unlike(settings, {name: kind for name, kind in SETTINGS.items() if name in settings})
    faults += [f"{path}: {fault}; the report does without it. Restore it." for fault in wrong.values()]
    known = {key: value for key, value in settings.items() if key not in wrong}
    return {"task": FIRST_TASK, **known} if known else {}, "\n".join(lines[comment:]), command


def _task(path: Path, settings: Mapping[str, Any]) -> str:
    name = str(settings.get("task", FIRST_TASK).get("name"))
    if name not in TASKS:
        raise RunFolderError(
            f"{path}: task.name '{name}' is not one of {sorted(TASKS)}. Read the run with the version that wrote it."
        )
    return name


def _exported(path: Path, summary: Mapping[str, Any], metric: str, faults: list[str]) -> list[RunPoint]:
    """The one point of the run, or the points of its front, each in a folder of its own."""
    found = []
    for folder, entry in entries(path, summary, faults):
        point = entry | (_own_summary(folder / SUMMARY_FILE, faults) if folder != path.parent else {})
        if metric not in point or "costs" not in point:
            faults.append(
                f"{folder / SUMMARY_FILE}: no {metric} or costs there; the point is left out. Restore the file."
            )
            continue
        limits = {name: b["limit"] if isinstance(b, dict) else b for name, b in point.get("budgets", {}).items()}
        architecture = _architecture(folder / ARCHITECTURE_FILE, faults)
        lambdas = point.get("lambdas", {})
        found.append(
            RunPoint(
                architecture=architecture,
                budgets=limits,
                costs=point["costs"],
                scores=point[metric],
                lambdas=lambdas,
                folder=folder,
                summary=point,
            )
        )
    return found


def _own_summary(path: Path, faults: list[str]) -> dict[str, Any]:
    """The summary of a point. The run's summary has most of it as well, so little is lost where it is damaged."""
    try:
        return read_summary(path, faults)
    except RunFolderError as error:
        faults.append(str(error))
        return {}


def _architecture(path: Path, faults: list[str]) -> Architecture | None:
    try:
        return Architecture.from_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        faults.append(f"{path}: cannot be read ({error}); pruned channels may be missing from the report.")
        return None


def _unexported(result: Result) -> RunPoint:
    """Points that were trained and measured on validation data, and not exported."""
    costs = {name: {"found": value, "unit": result.units.get(name, "")} for name, value in result.costs.items()}
    return RunPoint(result.architecture, result.budgets, costs, {"integer": {"val": result.selected}})


def _sensitivity(path: Path, faults: list[str]) -> dict[str, StoredDecision]:
    """The sensitivity of the decisions whose part of the file is whole."""
    if not path.is_file():
        return {}
    try:
        decisions, wrong = decisions_of(json_object(path.read_text(encoding="utf-8")))
    except ValueError as error:
        faults.append(f"{path}: {error}; the report does without it. Restore it, or delete it.")
        return {}
    faults += [f"{path}: {fault}; the other decisions are shown. Restore it, or delete it." for fault in wrong]
    return decisions
