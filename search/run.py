"""A run from an experiment to integers: warm-up, search, decide, fine-tune, lower, verify; and its folder.

Every phase leaves a checkpoint. A run of the same experiment in the same folder goes on where the last one stopped.
"""

import sys
from pathlib import Path
from typing import Any

import torch

from search import distributed
from search.data.batches import Batches
from search.deploy.export import Exporter, front_summary, refuse_mismatches, write_summary
from search.errors import file_errors
from search.experiment import Experiment, ModelMaker, prepare
from search.files.results import RESULTS_FILE, Result, read_results, versions, write_results
from search.monitor.events import Monitor, Monitors
from search.monitor.history import HISTORY_FILE, HistoryMonitor
from search.monitor.terminal import terminal_monitor
from search.report import write_run_report
from search.settings.front import Point
from search.settings.run import Settings
from search.strategies.evaluator import Evaluator
from search.strategies.problem import Problem
from search.training import checkpoint
from search.training.checkpoint import checkpoint_file
from search.training.evaluation import measure
from search.training.fingerprint import refuse_other, write_fingerprint
from search.training.float_network import float_copy
from search.training.ledger import Ledger
from search.training.loop import PhaseRun
from search.training.phase import Learning, Phase, Schedule, Stopping, Teacher
from search.training.process import process_for, seeded
from search.training.runtime import Runtime
from spaces.space import FAKE, FLOAT, Space

WORK = {"warmup": 1.0, "search": 1.9, "finetune": 1.7}  # relative time of an epoch
EVALUATION_BATCH = 256
TENSORBOARD = "tensorboard"


def run(settings: Settings, make_model: ModelMaker, folder: Path) -> dict[str, Any]:
    """Prepares an experiment and runs it in the folder, or goes on with it there; returns the summary.

    Raises:
        As `prepare` and `execute` do.
    """
    with process_for(settings.train) as device:
        return execute(prepare(settings, make_model, folder), folder, device)


def execute(experiment: Experiment, folder: Path, device: torch.device) -> dict[str, Any]:
    """Runs all phases that are left, and returns what summary.json holds; on other processes than the first, {}.

    Raises:
        RunFolderError: the folder holds a run of another experiment.
        CheckpointError: a checkpoint there is damaged.
        TrainingDiverged: a loss was not finite.
        LoweringError: the network that was found has no integers.
    """
    _claim(experiment, folder)
    runtime = start(experiment, folder, device)
    try:
        with seeded(experiment.settings.seed, experiment.random_state):
            return _phases(experiment, runtime)
    except BaseException:
        runtime.monitor.close({})  # gives the terminal back
        raise


def _claim(experiment: Experiment, folder: Path) -> None:
    """The folder becomes this experiment's. Raises RunFolderError where it is another one's."""
    if distributed.rank() == 0:
        with file_errors(folder, "cannot be made"):
            folder.mkdir(parents=True, exist_ok=True)
        refuse_other(folder, experiment.fingerprint)
        write_fingerprint(folder, experiment.fingerprint)


# Where a run takes place


def start(experiment: Experiment, folder: Path, device: torch.device) -> Runtime:
    """The runtime of a run that begins here, or goes on."""
    s = experiment.settings
    work = {name: epochs * WORK.get(name.split()[0], WORK["finetune"]) for name, epochs in experiment.plan.items()}
    return Runtime(
        device=device,
        folder=folder,
        monitor=_monitor(experiment, folder),
        ledger=Ledger(work, s.limits.seconds),
        train=batches_of(experiment, "train", device),
        val=batches_of(experiment, "val", device),
        whole=batches_of(experiment, "train", device, alone=True),
        task=experiment.task,
    )


def _monitor(experiment: Experiment, folder: Path) -> Monitor:
    if distributed.rank() != 0:
        return Monitors([])
    history, done = folder / HISTORY_FILE, _epochs_done(experiment, folder)
    monitors: list[Monitor] = [terminal_monitor(sys.stdout, experiment.task.words), HistoryMonitor(history, done)]
    if experiment.settings.tensorboard:
        from search.monitor.tensorboard import TensorBoardMonitor

        monitors.append(TensorBoardMonitor(folder / TENSORBOARD, history, done))
    return Monitors(monitors)


def _epochs_done(experiment: Experiment, folder: Path) -> int:
    states = [checkpoint.load(checkpoint_file(folder, name)) for name in experiment.plan]
    return sum(state["epochs"] if state["finished"] else state["epoch"] for state in states if state)


def batches_of(experiment: Experiment, split: str, device: torch.device, alone: bool = False) -> Batches:
    """Batches of a split, shuffled and augmented for training; `alone`: whole ones, as one process would see them."""
    s, train = experiment.settings, split == "train"
    return Batches(
        experiment.data,
        split,
        s.train.batch_size if train else EVALUATION_BATCH,
        seed=s.seed,
        shuffle=train,
        augment=s.train.augment if train else None,
        device=device,
        rank=0 if alone else distributed.rank(),
        world_size=1 if alone else distributed.world_size(),
    )


# Phases


def _phases(experiment: Experiment, runtime: Runtime) -> dict[str, Any]:
    _note_start(experiment, runtime)
    space = _copy_of(experiment.space, runtime.device)
    float_val = _warm_up(experiment, space, runtime)
    float_network = float_copy(space, lambda: Space(space.spec).to(runtime.device))
    problem = _problem(experiment, space, float_network, runtime)
    problem.calibrate(space)
    space.set_mode(FAKE)
    results = _results(experiment, problem)
    if distributed.rank() != 0:
        return {}
    distributed.leave()  # from here on the first process is alone
    return _exported(experiment, problem, results, float_network, float_val)


def _copy_of(space: Space, device: torch.device) -> Space:
    copy = Space(space.spec)
    copy.load_state_dict(space.state_dict())
    return copy.to(device)


def _note_start(experiment: Experiment, runtime: Runtime) -> None:
    note = runtime.monitor.note
    limits: dict[str, list[str]] = {}
    for point in experiment.points:
        for name, limit in point.budgets.items():
            limits.setdefault(name, []).append(f"{limit:g}")
    names = ", ".join(
        f"{name} {', '.join(dict.fromkeys(each))} (seed network {experiment.seed_costs[name]:g})"
        for name, each in limits.items()
    )
    name, data = experiment.settings.experiment, experiment.data.name
    note(f"{name}: {data}, budgets: {names or 'none'}; folder {runtime.folder}")
    for text in [*experiment.notes, *experiment.task.notes]:
        note(text)
    for layer, reason in experiment.space.spec.left_alone.items():
        note(f"left alone: {layer} ({reason})")


def _warm_up(experiment: Experiment, space: Space, runtime: Runtime) -> float:
    """Trains the float network, or takes over another run's; returns its metric on validation data."""
    w = experiment.settings.train.warmup
    phase = Phase(
        name="warmup",
        schedule=Schedule(experiment.plan["warmup"], w.lr, FLOAT),
        stopping=Stopping(w.patience, keep_best=w.patience is not None),
        learning=Learning(weight_decay=w.weight_decay),
    )
    run = PhaseRun(space, phase, runtime)
    if w.source is not None and not run.path.exists():
        run.adopt(checkpoint_file(Path(w.source), "warmup"))
    run.run()
    return measure(space, runtime.val, experiment.task, FLOAT).value


def _problem(experiment: Experiment, space: Space, float_network: Space, runtime: Runtime) -> Problem:
    s, d = experiment.settings, experiment.settings.train.distillation
    teacher = Teacher(float_network, d.weight, d.temperature) if d.weight > 0 else None
    return Problem(
        settings=s,
        space=space,
        initial=experiment.space.state_dict(),
        models=experiment.models,
        seed_costs=experiment.seed_costs,
        points=experiment.points,
        point=experiment.points[0],
        plan=experiment.plan,
        teacher=teacher,
        runtime=runtime,
        evaluator=Evaluator(s, space, experiment.models, experiment.plan, teacher, runtime),
    )


def _results(experiment: Experiment, problem: Problem) -> list[Result]:
    """All results, each written down as it is found; what was there before a kill stays until it is found again."""
    path, results = problem.runtime.folder / RESULTS_FILE, list[Result]()
    before, _ = read_results(path) if path.is_file() else ([], [])
    for result in experiment.strategy.run(problem):
        results.append(result)
        if distributed.rank() == 0:
            write_results(path, [*results, *before[len(results) :]])
    return results


# What a run leaves


def _exported(
    experiment: Experiment, problem: Problem, results: list[Result], float_network: Space, float_val: float
) -> dict[str, Any]:
    """Of every point the network that is best on validation data: its files, and the summary of all."""
    runtime = problem.runtime
    runtime.monitor.note("lower to integers, verify against the executor")
    exporter = _exporter(experiment, problem.space, runtime)
    floats = exporter.of_floats(float_network, float_val)
    found, points, metric = [], _found_points(experiment, results), experiment.task.metric.name
    for point in points:
        best = max((r for r in results if r.point == point.name), key=lambda r: r.selected)
        folder = runtime.folder / "points" / point.name if point.name else runtime.folder
        network, _ = problem.evaluator.found[best.architecture.hash]
        summary = exporter.export(folder, point, best, network)
        summary[metric] = {"float": floats, **summary[metric]}
        if point.name:
            summary |= {"point": point.name, "folder": f"points/{point.name}"}
            write_summary(folder, summary | {"versions": versions()})
        found.append(summary)
    summary = whole_summary(experiment, found) if points[0].name else found[0]
    summary |= {**_spent(experiment, runtime.ledger), "versions": versions()}
    write_summary(runtime.folder, summary)
    write_run_report(runtime.folder, runtime.monitor.note)
    runtime.monitor.close({**summary, "folder": str(runtime.folder)})
    for one in found:
        refuse_mismatches(one)
    return summary


def _exporter(experiment: Experiment, space: Space, runtime: Runtime) -> Exporter:
    s = experiment.settings
    return Exporter(
        experiment=s.experiment,
        seed=s.seed,
        space=space,
        models=experiment.models,
        seed_costs=experiment.seed_costs,
        whole=lambda split: batches_of(experiment, split, runtime.device, alone=True),
        monitor=runtime.monitor,
        task=experiment.task,
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
        "experiment": s.experiment,
        "seed": s.seed,
        "strategy": s.strategy.name,
        "points": found,
        "front": front_summary(found, experiment.task.metric.name, axis, experiment.seed_costs[axis]),
    }


def _spent(experiment: Experiment, ledger: Ledger) -> dict[str, dict[str, float]]:
    """Epochs and seconds by phase; "rest" are seconds of this process that no phase accounts for.

    These went into preparing, measuring, lowering and verifying.
    """
    rest = max(0.0, experiment.seconds + ledger.elsewhere())
    return {"epochs": _with_total(ledger.epochs), "seconds": _with_total({**ledger.seconds, "rest": rest})}


def _with_total(each: dict[str, float]) -> dict[str, float]:
    return {**each, "total": sum(each.values())}
