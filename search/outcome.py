"""What a run leaves: the files of every network that was found, the summary of all of them, and the report."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from search.deploy.export import Exporter, front_summary, refuse_mismatches, write_summary
from search.experiment import Experiment
from search.files.results import Result
from search.files.versions import versions
from search.health.of_run import Watched
from search.health.warnings import warnings_of
from search.monitor.history import HISTORY_FILE, read_history
from search.report import write_run_report
from search.settings.front import Point
from search.strategies.problem import Problem
from search.training.ledger import Ledger
from search.training.phase import label
from search.training.runtime import Runtime
from spaces.space import Space

PARTS = (
    *("prepare", "warmup", "calibrate", "search", "prune", "decide", "finetune"),
    *("lower", "verify", "measure", "export", "report", "rest"),
)


def exported(
    experiment: Experiment,
    problem: Problem,
    results: list[Result],
    float_network: Space,
    float_val: float,
    calibrated: float | None,
) -> dict[str, Any]:
    """Of every point the network that is best on validation data: its files, and the summary of all.

    Args:
        float_val: the metric of the float network on validation data, and calibrated that of `problem.calibrated`.
    """
    runtime = problem.runtime
    runtime.monitor.note("lower to integers, verify against the executor")
    exporter = _exporter(experiment, problem.space, runtime)
    floats, watched = exporter.of_floats(float_network, float_val), _watched(experiment, runtime, calibrated)
    found, points, metric = [], _found_points(experiment, results), experiment.task.metric.name
    for point in points:
        best = max((r for r in results if r.point == point.name), key=lambda r: r.selected)
        folder = runtime.folder / "points" / point.name if point.name else runtime.folder
        network, _ = problem.evaluator.found[best.architecture.hash]
        summary = exporter.export(folder, point, best, network)
        summary[metric] = {"float": floats, **summary[metric]}
        summary = _health(watched, problem, best, summary[metric]) | summary
        if point.name:
            summary |= {"point": point.name, "folder": f"points/{point.name}"}
            write_summary(folder, summary | {"versions": versions()})
        found.append(summary)
    summary = whole_summary(experiment, found) if points[0].name else found[0]
    summary |= {"data": _data(experiment), "date": datetime.now(UTC).isoformat(timespec="seconds")}
    summary |= {
        "notes": [*experiment.notes, *experiment.task.notes, *exporter.notes],
        **_spent(experiment, runtime.ledger),
        "versions": versions(),
    }
    write_summary(runtime.folder, summary)
    with runtime.ledger.part("report"):
        write_run_report(runtime.folder, runtime.monitor.note)
    summary |= _spent(experiment, runtime.ledger)  # with what the report took, which reads the summary
    write_summary(runtime.folder, summary)
    runtime.monitor.close({**summary, "folder": str(runtime.folder)})
    for one in found:
        refuse_mismatches(one)
    return summary


def _watched(experiment: Experiment, runtime: Runtime, calibrated: float | None) -> Watched:
    ends, _ = read_history(runtime.folder / HISTORY_FILE)
    return Watched(
        task=experiment.task,
        targets=experiment.data.val.targets,
        train=experiment.settings.train,
        seed_costs=experiment.seed_costs,
        steps=len(runtime.train),
        ends=ends,
        calibrated=calibrated,
    )


def _health(
    watched: Watched, problem: Problem, best: Result, values: Mapping[str, Mapping[str, float]]
) -> dict[str, Any]:
    """What went wrong on the way to a network, the metric at each stage of it, and how far it is below the floats."""
    names = [point.name for point in problem.points]
    search = label("search", names.index(best.point) + 1 if best.point in names else 1)
    finetune = label("finetune", list(problem.evaluator.found).index(best.architecture.hash) + 1)
    figures = watched.figures(best, values, search, finetune)
    floats, integers = values["float"], values["integer"]
    return {
        "warnings": [asdict(warning) for warning in warnings_of(figures)],
        "stages": dict(figures.stages),
        "below_float": {split: floats[split] - integers[split] for split in integers},
    }


def _exporter(experiment: Experiment, space: Space, runtime: Runtime) -> Exporter:
    s = experiment.settings
    return Exporter(
        experiment=s.name,
        seed=s.seed,
        space=space,
        models=experiment.models,
        seed_costs=experiment.seed_costs,
        data=experiment.data,
        whole=lambda split: experiment.batches(split, runtime.device).whole(),
        monitor=runtime.monitor,
        ledger=runtime.ledger,
        task=experiment.task,
        target=s.target,
        pattern=s.space.pattern,
    )


def _found_points(experiment: Experiment, results: list[Result]) -> list[Point]:
    """The points that were asked for; where a search found a front by itself, those that its results name."""
    asked = {point.name: point for point in experiment.points}
    return list({r.point: asked.get(r.point) or Point(r.point, r.budgets, {}) for r in results}.values())


def whole_summary(experiment: Experiment, found: list[dict[str, Any]]) -> dict[str, Any]:
    """Of a front: its points and, over the first cost that tells them apart, its hypervolume and knee."""
    s = experiment.settings
    axes = (s.front.budgets, s.front.lambdas, getattr(s.strategy, "objectives", ()), s.budgets)
    axis = next(name for names in axes for name in names)
    return {
        "experiment": s.name,
        "seed": s.seed,
        "strategy": s.strategy.name,
        "points": found,
        "front": front_summary(found, experiment.task.metric.name, axis, experiment.seed_costs[axis]),
    }


def _data(experiment: Experiment) -> dict[str, Any]:
    """Which data set, and how many examples each split has."""
    data = experiment.data
    return {"name": data.name} | {split: len(data.split(split)) for split in ("train", "val", "test")}


def _spent(experiment: Experiment, ledger: Ledger) -> dict[str, dict[str, float]]:
    """Epochs by phase, and seconds by phase and part, in the order in which a run comes to them.

    "decide" are seconds of a search that trained nothing: repair, what is left of budgets, norms, measuring. "rest" are
    seconds of this process that nothing accounts for.
    """
    known = {"prepare": experiment.seconds, **ledger.seconds, "rest": max(0.0, ledger.elsewhere())}
    names = [name for name in PARTS if name in known] + [name for name in known if name not in PARTS]
    return {"epochs": _with_total(ledger.epochs), "seconds": _with_total({name: known[name] for name in names})}


def _with_total(each: dict[str, float]) -> dict[str, float]:
    return {**each, "total": sum(each.values())}
