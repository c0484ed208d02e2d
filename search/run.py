"""A run from data to integers: warm-up, search, decide, fine-tune, lower, verify; and its folder."""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cost_models import cost_model
from cost_models.rules import CostModel
from cost_models.target import Target
from search import data as data_sets
from search import distributed, verify
from search.data.batches import Batches
from search.data.data import Data
from search.display import terminal_monitor
from search.feasibility import BudgetError, at, refuse_impossible, seed_architecture
from search.integer.program import Program
from search.integer.sparse import stored_bytes
from search.lower import lower
from search.problem import Problem, device_of
from search.progress import Monitor, Monitors
from search.report_rows import rows
from search.results import Result, versions, write_results
from search.settings import Settings
from search.strategies import STRATEGIES
from search.strategies.gradient import Gradient
from search.training import Context, Phase, PhaseRun, accuracy, float_copy
from spaces.files import write_text
from spaces.patterns import DENSE, SINGLE
from spaces.searchable import Options, searchable
from spaces.space import FAKE, FLOAT, INTEGER, Space

WORK = {"warmup": 1.0, "search": 1.9, "finetune": 1.7}  # relative time of an epoch
EVALUATION_BATCH = 256
TENSORBOARD = "tensorboard"


class RunFolderError(ValueError):
    """A run folder that is in the way, or that is none."""


def _offered(options: Options, target: Target) -> tuple[Options, list[str]]:
    """The options less what the target cannot run, and a note on each precision that is not offered.

    Raises:
        ValueError: nothing would be left of what is asked for.
    """
    faults, notes, offered = [], [], {}
    for key, asked, legal in (
        ("weight_bits", options.widths, target.weight_bits),
        ("activation_bits", options.activation_widths, target.activation_bits),
        ("input_bits", (options.input_bits,) if options.input_bits else (), target.activation_bits),
    ):
        runs, beyond = sorted(set(asked) & set(legal)), sorted(set(asked) - set(legal))
        if beyond and not runs:
            faults.append(f"space.{key} {beyond}, it runs {sorted(legal)}")
        elif beyond:
            notes.append(f"not offered: space.{key} {beyond}, which target '{target.name}' cannot run")
            offered[key] = [0, *runs] if key == "weight_bits" and options.prunes else runs
    if target.granularity == "layer" and options.granularity == "channel" and len(options.widths) > 1:
        faults.append("space.granularity 'channel', its kernels read one width a layer (granularity 'tensor')")
    if target.channel_multiple > 1 and options.prunes:
        faults.append(f"space.weight_bits with 0, it wants channels in multiples of {target.channel_multiple}")
    if faults:
        raise ValueError(
            f"target '{target.name}' cannot run {'; '.join(faults)}. Change the space, or choose another target."
        )
    return replace(options, **offered), notes


def new_folder(settings: Settings) -> Path:
    """runs/EXPERIMENT/TIME, or settings.folder. Raises RunFolderError where it exists with something in it."""
    stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    folder = Path(settings.folder or Path("runs") / settings.experiment / stamp)
    if folder.exists() and any(folder.iterdir()):
        raise RunFolderError(
            f"folder '{folder}' exists and is not empty: nothing there is overwritten. "
            f"Continue it with resume={folder}, or name another folder."
        )
    return folder


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
        if settings.lambdas and not isinstance(self.strategy, Gradient):
            raise BudgetError(
                f"lambdas {sorted(settings.lambdas)}: strategy '{settings.strategy.name}' has nothing to trade off. "
                "Leave them out."
            )
        self.data = data_sets.load(settings.data)
        torch.manual_seed(settings.seed)
        self.space = self._space(model(self.data))
        self.initial = {name: value.clone() for name, value in self.space.state_dict().items()}
        self.seed_costs = at(self.space, seed_architecture(self.space), self.models)
        refuse_impossible(self.space, self.models, settings.budgets)
        if distributed.rank() == 0:
            folder.mkdir(parents=True, exist_ok=True)
        self.monitor = self._monitor()
        self.context = self._context()

    def _cost_models(self) -> dict[str, CostModel]:
        s = self.settings
        names = list(dict.fromkeys([*s.costs, *s.budgets, *s.lambdas]))
        try:
            models = {name: cost_model(name, s.target) for name in names}
        except ValueError as error:
            raise BudgetError(f"budgets, lambdas, costs: {error}") from error
        holds = {"flash_bytes": s.target.flash_bytes, "peak_ram_bytes": s.target.ram_bytes}
        beyond = {n: limit for n, limit in s.budgets.items() if limit > holds.get(n, limit)}
        if beyond:
            raise BudgetError(f"budgets {beyond}: more than target '{s.target.name}' holds, {holds}. Lower them.")
        wrong = {n: v for n, v in {**s.budgets, **s.lambdas}.items() if not v > 0}
        if wrong:
            raise BudgetError(f"budgets, lambdas: {wrong}: must be positive. Leave a cost out to leave it free.")
        return models

    def _space(self, model: nn.Module) -> Space:
        s = self.settings
        options, self.notes = _offered(Options(**asdict(s.space)), s.target)
        if options.pattern == SINGLE and s.strategy.name != "magnitude":
            raise ValueError(
                f"space.pattern 'weights': strategy '{s.strategy.name}' prunes no single weights. "
                "Take strategy=magnitude strategy.structure=weights, or another pattern."
            )
        if options.pattern:
            self.notes.append(f"space.pattern '{options.pattern}': {DENSE}")
        example = self.data.normalise(self.data.train.images[:2])
        space = searchable(model, example, options, s.experiment)
        shape = next(b.shape for b in space.spec.blocks if b.name == space.spec.output)
        if shape != (len(self.data.classes),):
            raise ValueError(
                f"model: its output has shape (N, {', '.join(map(str, shape))}); {self.data.name} has "
                f"{len(self.data.classes)} classes, so (N, {len(self.data.classes)}) is needed. Change the last layer."
            )
        s.target.check(space.describe())  # whatever is on offer, branches and all
        self.strategy.check(space, self.models, s.budgets)
        return space.to(self.device)

    def _monitor(self) -> Monitor:
        if distributed.rank() != 0:
            return Monitors([])
        monitors: list[Monitor] = [terminal_monitor(sys.stdout)]
        if self.settings.tensorboard:
            from search.tensorboard import TensorBoardMonitor

            monitors.append(TensorBoardMonitor(self.folder / TENSORBOARD, self._epochs_done()))
        return Monitors(monitors)

    def _epochs_done(self) -> int:
        from search import checkpoint

        states = [checkpoint.load(self.folder / "checkpoints" / f"{name}.pt") for name in self._plan()]
        planned = zip(states, self._plan().values(), strict=True)
        return sum(epochs if state["finished"] else state["epoch"] for state, epochs in planned if state)

    def _plan(self) -> dict[str, int]:
        t = self.settings.train
        return {"warmup": t.warmup.epochs, **self.strategy.phases(), "finetune": t.finetune.epochs}

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

    def _context(self) -> Context:
        s = self.settings
        return Context(
            self._batches("train", s.train.batch_size, train=True),
            self._batches("val", EVALUATION_BATCH),
            self._batches("train", s.train.batch_size, train=True, alone=True),
            self.device,
            self.folder,
            self.monitor,
            s.train.label_smoothing,
            {name: model.unit for name, model in self.models.items()},
            dict(s.budgets),
            {name: epochs * WORK.get(name, WORK["finetune"]) for name, epochs in self._plan().items()},
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
        results = list(self.strategy.run(problem))
        best = max(results, key=lambda r: r.metrics["accuracy/val"])
        summary: dict[str, Any] = {}
        first = distributed.rank() == 0
        distributed.stop()  # from here on, the first process is alone
        if first:
            summary = self._export(best, problem.found[best.architecture.hash], teacher, float_val, results)
        return summary

    def _note_start(self) -> None:
        space = self.space.spec
        names = ", ".join(f"{n} {v:g} (seed network {self.seed_costs[n]:g})" for n, v in self.settings.budgets.items())
        self.monitor.note(
            f"{self.settings.experiment}: {self.data.name}, budgets: {names or 'none'}; folder {self.folder}"
        )
        for note in self.notes:
            self.monitor.note(note)
        for layer, reason in space.left_alone.items():
            self.monitor.note(f"left alone: {layer} ({reason})")

    def _warm_up(self) -> float:
        w = self.settings.train.warmup
        phase = Phase(
            "warmup", w.epochs, w.lr, FLOAT, w.weight_decay, patience=w.patience, keep_best=w.patience is not None
        )
        PhaseRun(self.space, phase, self.context).run()
        return accuracy(self.space, self.context.val, self.device, FLOAT)

    def _problem(self, teacher: Space) -> Problem:
        s = self.settings
        return Problem(
            self.space,
            self.models,
            self.seed_costs,
            s.budgets,
            s.lambdas,
            s.train,
            s.target,
            self.context,
            s.seed,
            s.strategy.name,
            teacher,
            self.initial,
        )

    def _export(self, best: Result, network: Space, teacher: Space, float_val: float, results: list[Result]):
        self.monitor.note("lower to integers, verify against the executor")
        network.eval()
        network.set_mode(INTEGER)
        program = lower(network, {"experiment": self.settings.experiment, "architecture": best.architecture.hash})
        program.save(self.folder / "program.safetensors")
        network.save(self.folder / "model.safetensors")
        write_text(self.folder / "architecture.json", best.architecture.to_json())
        write_results(self.folder / "results.jsonl", results)
        summary = self._summary(best, network, program, teacher, float_val)
        write_text(self.folder / "summary.json", json.dumps(summary, indent=1))
        self.monitor.table(*rows(self.space, network))
        self.monitor.close({**summary, "folder": str(self.folder)})
        if summary["mismatches"]["numpy"]:
            raise RuntimeError(
                f"{summary['mismatches']}: the executor differs from what was measured: a defect, report it."
            )
        return summary

    def _summary(self, best: Result, network: Space, program, teacher: Space, float_val: float) -> dict[str, Any]:
        val, test = self._whole("val"), self._whole("test")  # test data is read here, once, with all choices made
        check = verify.verify(network, program, test)
        costs = {
            name: {"seed_network": _number(self.seed_costs[name]), "found": _number(best.costs[name]), "unit": m.unit}
            for name, m in self.models.items()
        }
        self._check_program(program, costs)
        budgets = {
            n: {"limit": limit, "found": costs[n]["found"], "met": costs[n]["found"] <= limit}
            for n, limit in self.settings.budgets.items()
        }
        integer = {"val": verify.accuracy(program, val), "test": verify.accuracy(program, test)}
        # "decided" is the decided network in its quantized float form, as fine-tuned.
        return {
            "experiment": self.settings.experiment,
            "seed": self.settings.seed,
            "architecture": best.architecture.hash,
            "accuracy": {
                "float": {"val": float_val, "test": accuracy(teacher, test, self.device, FLOAT)},
                "decided": {s: accuracy(network, b, self.device, FAKE) for s, b in (("val", val), ("test", test))},
                "integer": integer,
            },
            "costs": costs,
            "budgets": budgets,
            "files": {
                name: (self.folder / name).stat().st_size for name in ("program.safetensors", "model.safetensors")
            },
            **_zeros(network, program, self.settings.space.pattern),
            "mismatches": {
                "numpy": check.mismatches,
                "tensors_compared": check.tensors,
                "elements_compared": check.elements,
            },
            "seconds": {**self.context.seconds, "total": sum(self.context.seconds.values()) + self._rest()},
            "versions": versions(),
        }

    def _whole(self, split: str) -> Batches:
        return self._batches(split, EVALUATION_BATCH, alone=True)

    def _rest(self) -> float:
        """Seconds of this process that no phase accounts for: start, lowering, verification."""
        return max(0.0, time.perf_counter() - self.began - sum(self.context.seconds.values()))

    def _check_program(self, program, costs: dict[str, dict[str, Any]]) -> None:
        """The cost models' figures against the Program's own."""
        own = {"flash_bytes": program.flash_bytes, "peak_ram_bytes": program.peak_ram_bytes, "macs": program.macs}
        for name, weigh in own.items():
            if name in costs and weigh() != costs[name]["found"]:
                raise RuntimeError(
                    f"{name}: the cost model says {costs[name]['found']}, the Program {weigh()}: a defect, report it."
                )


def _zeros(network: Space, program: Program, pattern: str) -> dict[str, Any]:
    """What a pattern did to the weights, where there is one, and what they would weigh in formats without zeros."""
    if not pattern:
        return {}
    each = [weights.mask for weights in network.weights.values() if weights.spec.masked]
    zeros, total = sum(int((~mask).sum()) for mask in each), sum(mask.numel() for mask in each)
    counts = {"pattern": pattern, "weights": total, "zeros": zeros, "costs": DENSE}
    return {"pattern": counts | {"stored_bytes": stored_bytes(program)}}


def _number(value: float) -> float:
    return int(value) if float(value).is_integer() else value
