"""A run from an experiment to integers: warm-up, search, decide, fine-tune, lower, verify; and its folder.

Every phase leaves a checkpoint. A run of the same experiment in the same folder goes on where the last one stopped.
"""

import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from search import distributed
from search.atomic import remove_parts
from search.errors import file_errors
from search.experiment import Experiment, ModelMaker, prepare
from search.files.lock import held
from search.files.results import RESULTS_FILE, Result, read_results, write_results
from search.files.run_folders import refuse_taken
from search.monitor.events import Monitor, Monitors
from search.monitor.history import HISTORY_FILE, HistoryMonitor
from search.monitor.log import LOG_FILE, LogMonitor
from search.monitor.quiet import QuietMonitor
from search.monitor.terminal import terminal_monitor
from search.outcome import exported
from search.settings.run import Settings
from search.strategies.evaluator import Evaluator
from search.strategies.problem import Problem
from search.training import checkpoint
from search.training.checkpoint import checkpoint_file
from search.training.devices import described
from search.training.evaluation import scores_of
from search.training.fingerprint import refuse_other_experiment, write_fingerprint
from search.training.float_network import float_copy
from search.training.ledger import Ledger
from search.training.loop import PhaseRun
from search.training.phase import Learning, Phase, Schedule, Stopping, Teacher
from search.training.process import process_for, seeded
from search.training.recorded import why_not_recorded
from search.training.runtime import Runtime
from spaces.passes.chosen import why_slower
from spaces.space import FAKE, FLOAT, Space

WORK = {"warmup": 1.0, "search": 1.9, "finetune": 1.7}  # relative time of an epoch
TENSORBOARD = "tensorboard"


def run(settings: Settings, make_model: ModelMaker, folder: Path) -> dict[str, Any]:
    """Prepares an experiment and runs it in the folder, or goes on with it there; returns the summary.

    Raises:
        As `prepare` and `execute` do.
    """
    with process_for(settings.train) as device:
        return execute(prepare(settings, make_model, folder), folder, device)


def execute(
    experiment: Experiment, folder: Path, device: torch.device, begin: Callable[[], object] | None = None
) -> dict[str, Any]:
    """Runs all phases that are left, and returns what summary.json holds; on other processes than the first, {}.

    Args:
        begin: writes into the folder what a new run begins with; the folder has to be empty before. None: a run that
            may have begun there goes on.

    Raises:
        RunFolderError: the folder holds a run of another experiment, or another process works on it.
        CheckpointError: a checkpoint there is damaged.
        TrainingDiverged: a loss was not finite.
        LoweringError: the network that was found has no integers.
    """
    with ExitStack() as lock:
        distributed.agreed(lambda: _claim(experiment, folder, begin, lock))
        runtime = start(experiment, folder, device)
        try:
            with seeded(experiment.settings.seed, experiment.random_state):
                return _phases(experiment, runtime)
        except BaseException:
            runtime.monitor.close({})  # gives the terminal back
            raise


def _claim(experiment: Experiment, folder: Path, begin: Callable[[], object] | None, lock: ExitStack) -> None:
    """The folder becomes this experiment's, and is held until the lock ends.

    The order is such that a run that is killed in between can begin anew or go on.

    Raises:
        RunFolderError: the folder is another experiment's, or another process holds it.
    """
    with file_errors(folder, "cannot be made"):
        folder.mkdir(parents=True, exist_ok=True)
    lock.enter_context(held(folder))
    if begin is not None:
        refuse_taken(folder)  # another run may have been quicker
        begin()
    refuse_other_experiment(folder, experiment.fingerprint)
    write_fingerprint(folder, experiment.fingerprint)
    remove_parts(folder)


# Where a run takes place


def start(experiment: Experiment, folder: Path, device: torch.device) -> Runtime:
    """The runtime of a run that begins here, or goes on."""
    s = experiment.settings
    train = experiment.batches("train", device)
    work = {name: epochs * WORK.get(name.split()[0], WORK["finetune"]) for name, epochs in experiment.plan.items()}
    return Runtime(
        device=device,
        folder=folder,
        monitor=_monitor(experiment, folder),
        ledger=Ledger(work, s.limits.seconds),
        train=train,
        val=experiment.batches("val", device),
        whole=train.whole(),
        task=experiment.task,
        graphs=s.train.graphs,
    )


def _monitor(experiment: Experiment, folder: Path) -> Monitor:
    if distributed.rank() != 0:
        return Monitors([])
    history, done = folder / HISTORY_FILE, _epochs_done(experiment, folder)
    words, quiet = experiment.task.words, experiment.settings.quiet
    terminal: Monitor = QuietMonitor(sys.stdout) if quiet else terminal_monitor(sys.stdout, words)
    monitors = [terminal, LogMonitor(folder / LOG_FILE, words), HistoryMonitor(history, done)]
    if experiment.settings.tensorboard:
        from search.monitor.tensorboard import TensorBoardMonitor

        monitors.append(TensorBoardMonitor(folder / TENSORBOARD, history, done))
    return Monitors(monitors)


def _epochs_done(experiment: Experiment, folder: Path) -> int:
    states = [checkpoint.load(checkpoint_file(folder, name)) for name in experiment.plan]
    return sum(state["epochs"] if state["finished"] else state["epoch"] for state in states if state)


# Phases


def _phases(experiment: Experiment, runtime: Runtime) -> dict[str, Any]:
    _note_start(experiment, runtime)
    space = _copy_of(experiment.space, runtime.device)
    float_val = _warm_up(experiment, space, runtime)
    float_network = float_copy(space, lambda: Space(space.spec).to(runtime.device))
    problem = _problem(experiment, space, float_network, runtime)
    with runtime.ledger.part("calibrate"):
        problem.calibrate(space)
    space.set_mode(FAKE)
    with runtime.ledger.part("measure"):
        calibrated = problem.calibrated()
    with runtime.ledger.part("decide"):
        results = _results(experiment, problem)
    if distributed.rank() != 0:
        return {}
    distributed.leave()  # from here on the first process is alone
    return exported(experiment, problem, results, float_network, float_val, calibrated)


def _copy_of(space: Space, device: torch.device) -> Space:
    copy = Space(space.spec)
    copy.load_state_dict(space.state_dict())
    return copy.to(device)


def _without_graphs(runtime: Runtime) -> str:
    why = why_not_recorded(runtime.device) if runtime.graphs else ""
    return f"train.graphs: steps run without graphs: {why}" if why else ""


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
    name, data = experiment.settings.name, experiment.data.name
    device, processes = described(runtime.device), distributed.world_size()
    if processes > 1:
        device += f", the first of {processes} processes"
    note(f"{name}: {data}, budgets: {names or 'none'}; folder {runtime.folder}; device {device}")
    slower = [text for text in (why_slower(runtime.device), _without_graphs(runtime)) if text]
    for text in [*slower, *experiment.notes, *experiment.task.notes]:
        note(text)
    for layer, reason in experiment.space.spec.left_alone.items():
        note(f"left alone: {layer} ({reason})")


def _warm_up(experiment: Experiment, space: Space, runtime: Runtime) -> float:
    """Trains the float network, or takes over another run's; returns its metric on validation data."""
    train = experiment.settings.train
    w = train.warmup
    phase = Phase(
        name="warmup",
        schedule=Schedule(experiment.plan["warmup"], train.at_batch(w.lr), FLOAT),
        stopping=Stopping(w.patience, keep_best=w.patience is not None),
        learning=Learning(weight_decay=w.weight_decay),
    )
    run = PhaseRun(space, phase, runtime)
    if w.source is not None and not run.path.exists():
        run.adopt(checkpoint_file(Path(w.source), "warmup"))
    run.run()
    return scores_of(space, runtime.val, experiment.task, FLOAT).value


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
