"""A run from data to integers: warm-up, search, decide, fine-tune, lower, verify; and its folder."""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cost_models import cost_model
from cost_models.rules import CostModel
from search import data as data_sets
from search import distributed
from search.budgets.feasibility import BudgetError, at, refuse_impossible, seed_architecture
from search.data.batches import Batches
from search.data.data import Data
from search.deploy.export import Exporter, front_summary, refuse_mismatches, write_summary
from search.files.results import RESULTS_FILE, Result, read_results, versions, write_results
from search.monitor.events import Monitor, Monitors
from search.monitor.history import HISTORY_FILE, HistoryMonitor
from search.monitor.terminal import terminal_monitor
from search.report import write_run_report
from search.settings.front import Point, points_of
from search.settings.run import Settings
from search.settings.target_options import offered
from search.strategies import STRATEGIES
from search.strategies.problem import Problem
from search.tasks import TASKS
from search.training import checkpoint
from search.training.checkpoint import checkpoint_file
from search.training.evaluation import measure
from search.training.float_network import float_copy, float_network
from search.training.ledger import Ledger
from search.training.loop import PhaseRun
from search.training.phase import Learning, Phase, Schedule, Stopping, Teacher
from search.training.runtime import Runtime, device_of
from spaces.patterns import DENSE, SINGLE
from spaces.searchable import Options, searchable
from spaces.space import FAKE, FLOAT, Space

WORK = {"warmup": 1.0, "search": 1.9, "finetune": 1.7}  # relative time of an epoch
EVALUATION_BATCH = 256
TENSORBOARD = "tensorboard"


class Run:
    """One run. Every phase leaves a checkpoint; the same Run in the same folder goes on where the last one stopped."""

    def __init__(self, settings: Settings, model: Callable[[Data], nn.Module], folder: Path) -> None:
        self.settings, self.folder, self.began = settings, folder, time.perf_counter()
        self.device = device_of(settings.train.device)
        if settings.train.threads:
            torch.set_num_threads(settings.train.threads)
        if "train" in settings.plain_values:  # sums depend on the number of threads: a resumed run takes as many
            settings.plain_values["train"]["threads"] = torch.get_num_threads()
        if self.device.type == "cuda":
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            torch.use_deterministic_algorithms(True, warn_only=True)
        distributed.start(self.device)
        self.models = self._cost_models()
        self.strategy = STRATEGIES[settings.strategy.name](settings.strategy)
        lambdas = {**settings.lambdas, **settings.front.lambdas}
        if lambdas and settings.strategy.name != "gradient":
            raise BudgetError(
                f"lambdas {sorted(lambdas)}: strategy '{settings.strategy.name}' has nothing to trade off. "
                "Leave them out."
            )
        self.data = data_sets.load(settings.data)
        self.task = TASKS[settings.task.name].of(settings.task, self.data, settings.train.label_smoothing)
        torch.manual_seed(settings.seed)
        self.space = self._space(model(self.data))
        self.initial = {name: value.clone() for name, value in self.space.state_dict().items()}
        self.seed_costs = at(self.space, seed_architecture(self.space), self.models)
        self.points = points_of(settings.front, settings.budgets, settings.lambdas, self.seed_costs)
        self._check_points()
        self.plan = self._plan()
        if distributed.rank() == 0:
            folder.mkdir(parents=True, exist_ok=True)
        self.monitor = self._monitor()
        self.runtime = self._runtime()

    def _cost_models(self) -> dict[str, CostModel]:
        s = self.settings
        names = list(dict.fromkeys([*s.costs, *s.budgets, *s.lambdas, *s.front.budgets, *s.front.lambdas]))
        try:
            models = {name: cost_model(name, s.target) for name in names}
        except ValueError as error:
            raise BudgetError(f"budgets, lambdas, costs: {error}") from error
        wrong = {n: v for n, v in {**s.budgets, **s.lambdas}.items() if not v > 0}
        if wrong:
            raise BudgetError(f"budgets, lambdas: {wrong}: must be positive. Leave a cost out to leave it free.")
        return models

    def _check_points(self) -> None:
        """Raises BudgetError for what the target does not hold, or no architecture meets; else as strategies say."""
        target = self.settings.target
        holds = {"flash_bytes": target.flash_bytes, "peak_ram_bytes": target.ram_bytes}
        limits = [(name, limit) for point in self.points for name, limit in point.budgets.items()]
        beyond = {name: limit for name, limit in limits if limit > holds.get(name, limit)}
        if beyond:
            raise BudgetError(f"budgets {beyond}: more than target '{target.name}' holds, {holds}. Lower them.")
        tightest: dict[str, float] = {}
        for name, limit in limits:
            tightest[name] = min(limit, tightest.get(name, limit))
        self.strategy.check(self.space, self.models, self.points)
        refuse_impossible(self.space, self.models, tightest)

    def _space(self, model: nn.Module) -> Space:
        s = self.settings
        options, self.notes = offered(Options(**asdict(s.space)), s.target)
        if options.pattern == SINGLE and s.strategy.name != "magnitude":
            raise ValueError(
                f"space.pattern 'weights': strategy '{s.strategy.name}' prunes no single weights. "
                "Take strategy=magnitude strategy.structure=weights, or another pattern."
            )
        if options.pattern:
            self.notes.append(f"space.pattern '{options.pattern}': {DENSE}")
        example = self.data.normalise(self.data.train.images[:2])
        space = searchable(model, example, options, s.experiment)
        self.task.check_output(*(space.spec.shapes[name] for name in space.spec.outputs))
        s.target.check(space.describe())  # whatever is on offer, branches and all
        return space.to(self.device)

    def _monitor(self) -> Monitor:
        if distributed.rank() != 0:
            return Monitors([])
        history, done = self.folder / HISTORY_FILE, self._epochs_done()
        monitors: list[Monitor] = [terminal_monitor(sys.stdout, self.task.words), HistoryMonitor(history, done)]
        if self.settings.tensorboard:
            from search.monitor.tensorboard import TensorBoardMonitor

            monitors.append(TensorBoardMonitor(self.folder / TENSORBOARD, history, done))
        return Monitors(monitors)

    def _epochs_done(self) -> int:
        states = [checkpoint.load(checkpoint_file(self.folder, name)) for name in self.plan]
        return sum(state["epochs"] if state["finished"] else state["epoch"] for state in states if state)

    def _plan(self) -> dict[str, int]:
        """Labels of all phases, in order, and their epochs."""
        t, limit, warmup = self.settings.train, self.settings.limits.epochs, self._warmup_epochs()
        left = None if limit is None else limit - warmup
        return {"warmup": warmup, **self.strategy.plan(len(self.points), t.finetune.epochs, left)}

    def _warmup_epochs(self) -> int:
        """As set, or as many as the run took whose float network is taken over."""
        w = self.settings.train.warmup
        if w.source is None:
            return w.epochs
        own, theirs = (checkpoint_file(folder, "warmup") for folder in (self.folder, Path(w.source)))
        state = checkpoint.load(own) or float_network(self.space, theirs)
        return int(state["epoch"])

    def _batches(self, split: str, size: int, train: bool = False, alone: bool = False) -> Batches:
        return Batches(
            self.data,
            split,
            size,
            seed=self.settings.seed,
            shuffle=train,
            augment=self.settings.train.augment if train else None,
            device=self.device,
            rank=0 if alone else distributed.rank(),
            world_size=1 if alone else distributed.world_size(),
        )

    def _runtime(self) -> Runtime:
        s = self.settings
        work = {name: epochs * WORK.get(name.split()[0], WORK["finetune"]) for name, epochs in self.plan.items()}
        return Runtime(
            device=self.device,
            folder=self.folder,
            monitor=self.monitor,
            ledger=Ledger(work, s.limits.seconds),
            train=self._batches("train", s.train.batch_size, train=True),
            val=self._batches("val", EVALUATION_BATCH),
            whole=self._batches("train", s.train.batch_size, train=True, alone=True),
            task=self.task,
        )

    # Phases

    def __call__(self) -> dict[str, Any]:
        """Runs all phases and returns the summary."""
        try:
            return self._phases()
        except BaseException:
            self.monitor.close({})  # gives the terminal back
            raise

    def _phases(self) -> dict[str, Any]:
        self._note_start()
        float_val = self._warm_up()
        teacher = float_copy(self.space, lambda: Space(self.space.spec).to(self.device))
        problem = self._problem(teacher)
        problem.calibrate()
        self.space.set_mode(FAKE)
        results = self._results(problem)
        networks = {name: network for name, (network, _) in problem.found.items()}
        first = distributed.rank() == 0
        distributed.stop()  # from here on, the first process is alone
        return self._exported(results, networks, teacher, float_val) if first else {}

    def _results(self, problem: Problem) -> list[Result]:
        """All results, each written down as it is found; what was there before a kill stays until it is found again."""
        path, results = self.folder / RESULTS_FILE, list[Result]()
        before, _ = read_results(path) if path.is_file() else ([], [])
        for result in self.strategy.run(problem):
            results.append(result)
            if distributed.rank() == 0:
                write_results(path, [*results, *before[len(results) :]])
        return results

    def _note_start(self) -> None:
        space = self.space.spec
        limits: dict[str, list[str]] = {}
        for point in self.points:
            for name, limit in point.budgets.items():
                limits.setdefault(name, []).append(f"{limit:g}")
        names = ", ".join(
            f"{name} {', '.join(dict.fromkeys(each))} (seed network {self.seed_costs[name]:g})"
            for name, each in limits.items()
        )
        self.monitor.note(
            f"{self.settings.experiment}: {self.data.name}, budgets: {names or 'none'}; folder {self.folder}"
        )
        for note in [*self.notes, *self.task.notes]:
            self.monitor.note(note)
        for layer, reason in space.left_alone.items():
            self.monitor.note(f"left alone: {layer} ({reason})")

    def _warm_up(self) -> float:
        w = self.settings.train.warmup
        epochs = self.plan["warmup"]
        phase = Phase(
            "warmup",
            Schedule(epochs, w.lr, FLOAT),
            Stopping(w.patience, keep_best=w.patience is not None),
            Learning(weight_decay=w.weight_decay),
        )
        run = PhaseRun(self.space, phase, self.runtime)
        if w.source is not None and not run.path.exists():
            run.adopt(checkpoint_file(Path(w.source), "warmup"))
        run.run()
        return measure(self.space, self.runtime.val, self.task, FLOAT).value

    def _problem(self, teacher: Space) -> Problem:
        s, d = self.settings, self.settings.train.distillation
        return Problem(
            self.space,
            self.models,
            self.seed_costs,
            s.budgets,
            s.lambdas,
            s.train,
            s.target,
            self.runtime,
            s.seed,
            s.strategy.name,
            Teacher(teacher, d.weight, d.temperature) if d.weight > 0 else None,
            self.initial,
            self.points,
            self.plan,
            s.limits,
        )

    def _exported(
        self, results: list[Result], networks: dict[str, Space], teacher: Space, float_val: float
    ) -> dict[str, Any]:
        """Of every point the network that is best on validation data: its files, and the summary of all."""
        self.monitor.note("lower to integers, verify against the executor")
        s = self.settings
        exporter = Exporter(
            *(s.experiment, s.seed, self.space, self.models, self.seed_costs),
            *(self._whole, self.monitor, self.task, s.space.pattern),
        )
        floats, found, points = exporter.of_floats(teacher, float_val), [], self._found_points(results)
        metric = self.task.metric.name
        for point in points:
            best = max((r for r in results if r.point == point.name), key=lambda r: r.selected)
            folder = self.folder / "points" / point.name if point.name else self.folder
            summary = exporter.export(folder, point, best, networks[best.architecture.hash])
            summary[metric] = {"float": floats, **summary[metric]}
            if point.name:
                summary |= {"point": point.name, "folder": f"points/{point.name}"}
                write_summary(folder, summary | {"versions": versions()})
            found.append(summary)
        summary = self._whole_summary(found) if points[0].name else found[0]
        summary |= {
            "epochs": _with_total(self.runtime.ledger.epochs),
            "seconds": self._seconds(),
            "versions": versions(),
        }
        write_summary(self.folder, summary)
        write_run_report(self.folder, self.monitor.note)
        self.monitor.close({**summary, "folder": str(self.folder)})
        for one in found:
            refuse_mismatches(one)
        return summary

    def _found_points(self, results: list[Result]) -> list[Point]:
        """The points that were asked for; where a search found a front by itself, those that its results name."""
        asked = {point.name: point for point in self.points}
        return list({r.point: asked.get(r.point) or Point(r.point, r.budgets, {}) for r in results}.values())

    def _whole_summary(self, found: list[dict[str, Any]]) -> dict[str, Any]:
        """Of a front: its points and, over the first cost that tells them apart, its hypervolume and knee."""
        s = self.settings
        axes = (s.front.budgets, s.front.lambdas, getattr(s.strategy, "objectives", ()), s.budgets)
        axis = next(name for names in axes for name in names)
        return {
            "experiment": s.experiment,
            "seed": s.seed,
            "strategy": s.strategy.name,
            "points": found,
            "front": front_summary(found, self.task.metric.name, axis, self.seed_costs[axis]),
        }

    def _seconds(self) -> dict[str, float]:
        return _with_total({**self.runtime.ledger.seconds, "rest": self._rest()})

    def _whole(self, split: str) -> Batches:
        return self._batches(split, EVALUATION_BATCH, alone=True)

    def _rest(self) -> float:
        """Seconds of this process that no phase accounts for: start, measuring, lowering, verification."""
        here = sum(self.runtime.ledger.seconds.values()) - self.runtime.ledger.restored
        return max(0.0, time.perf_counter() - self.began - here)


def _with_total(each: dict[str, float]) -> dict[str, float]:
    return {**each, "total": sum(each.values())}
