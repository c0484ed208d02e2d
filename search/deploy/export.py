"""What a run leaves of the networks it found: integers, weights, architecture, and the summary that measures them."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cost_models import IMAGE_COSTS
from cost_models.rules import CostModel
from cost_models.target import Target
from search.atomic import write_text
from search.budgets.layer_costs import rows
from search.budgets.pareto import front_knee, front_volume
from search.data.batches import Batches
from search.data.data import Data
from search.deploy.backends import BACKENDS, DEFAULTS, Options, Runner, backend, linked
from search.deploy.counted import Counted
from search.deploy.lower import lower
from search.deploy.verify import scores_of_program, verify
from search.errors import BuildFailed, MissingTool, file_errors
from search.files.results import Result
from search.integer.program import Program
from search.integer.sparse import stored_bytes
from search.monitor.events import Monitor
from search.settings.front import Point
from search.tasks import Task
from search.training.evaluation import scores_of
from search.training.ledger import Ledger
from spaces.patterns import DENSE
from spaces.space import FAKE, FLOAT, INTEGER, Space

OTHERS = ("onnx", "c")  # beside NumPy, whose program is program.safetensors itself
IMAGE = "cortex_m"  # what builds an image
PLAIN_LIST = re.compile(r"(\[\n[^][{}]*\])")  # in JSON with indents; text in it has no raw line break


@dataclass
class Exporter:
    """Writes and measures the networks that a run found.

    Attributes:
        data: what the network was trained on: the program gets its preprocessing and its classes.
        notes: on what could not be exported or compared.
        target: whose core the image is built for, where it has one and costs of the image are asked for.
        whole: a split -> its batches, as one process sees them. Test data is read here, when all choices are made.
    """

    experiment: str
    seed: int
    space: Space
    models: Mapping[str, CostModel]
    seed_costs: Mapping[str, float]
    data: Data
    whole: Callable[[str], Batches]
    monitor: Monitor
    ledger: Ledger
    task: Task
    target: Target
    pattern: str = ""
    notes: list[str] = field(default_factory=list)

    def export(self, folder: Path, point: Point, best: Result, network: Space) -> dict[str, Any]:
        """Writes the files of one point, and returns what was measured of it.

        Raises:
            RuntimeError: the executor, or a cost of the program, differs from what was measured, which is a defect.
        """
        with file_errors(folder, "cannot be made"):
            folder.mkdir(parents=True, exist_ok=True)
        network.eval()
        network.set_mode(INTEGER)
        with self.ledger.part("lower"):
            program = lower(
                network,
                {"experiment": self.experiment, "architecture": best.architecture.hash},
                self.data.preprocessing,
                self.data.classes if self.task.scores_classes else (),
                self.task.answers,
            )
        with self.ledger.part("export"):
            program.save(folder / "program.safetensors")
            network.save(folder / "model.safetensors")
            write_text(folder / "architecture.json", best.architecture.to_json())
            files, ways = self._written(folder, program)
            built = self._linked(folder, program)
        self.monitor.table(*rows(self.space, network))
        found = self._summary_of(point, best, network, program, ways, built)
        names = ("program.safetensors", "model.safetensors", *(str(file.relative_to(folder)) for file in files))
        return found | {"files": {name: (folder / name).stat().st_size for name in names}}

    def _written(self, folder: Path, program: Program) -> tuple[list[Path], dict[str, Mapping[str, Runner]]]:
        """The files of the other backends, each in a folder of its name, and what runs them.

        Those whose tools are not installed are noted.
        """
        files, ways = [], {}
        for name in OTHERS:
            try:
                each = backend(name)
            except MissingTool as error:
                self._note(f"not exported to {error}")
                continue
            (folder / name).mkdir(exist_ok=True)
            files.append(each.write(program, folder / name, self._options))
            try:
                ways[name] = each.opened(files[-1])
            except (MissingTool, BuildFailed) as error:
                self._note(f"not compared with {name}: {error}")
        return files, ways

    @property
    def _options(self) -> Options:
        return Options(self.target.core or DEFAULTS.target, self.target.optimize)

    def _linked(self, folder: Path, program: Program) -> Mapping[str, int]:
        """Costs of the image, measured on it; {} where none of them is asked for, or no image can be built."""
        if not self.target.core or IMAGE_COSTS.isdisjoint(self.models):
            return {}
        try:
            builder = backend(IMAGE)
            (folder / IMAGE).mkdir(exist_ok=True)
            return linked(builder, builder.write(program, folder / IMAGE, self._options))
        except (MissingTool, BuildFailed) as error:
            self._note(f"the image is not built, and its costs are what the model says: {error}")
            return {}

    def _note(self, text: str) -> None:
        """Shows it, and keeps it for the summary."""
        self.notes.append(text)
        self.monitor.note(text)

    def _summary_of(
        self,
        point: Point,
        best: Result,
        network: Space,
        program: Program,
        ways: Mapping[str, Mapping[str, Runner]],
        built: Mapping[str, int],
    ) -> dict[str, Any]:
        costs: dict[str, dict[str, Any]] = {
            name: {"seed_network": _number(self.seed_costs[name]), "found": _number(best.costs[name]), "unit": m.unit}
            for name, m in self.models.items()
        }
        _check_program(program, costs)
        for name in costs.keys() & built.keys():  # a promise is of the image
            costs[name] |= {"found": built[name], "foretold": costs[name]["found"]}
        budgets = {
            n: {
                "limit": limit,
                "found": costs[n]["found"],
                "used": costs[n]["found"] / limit,
                "met": costs[n]["found"] <= limit,
            }
            for n, limit in point.budgets.items()
        }
        with self.ledger.part("verify"):
            check = verify(network, program, self._counted("verify", "test"), ways)
        with self.ledger.part("measure"):
            splits = {split: self._counted(f"measure on {split} data", split) for split in ("val", "test")}
            decided = {split: scores_of(network, batches, self.task, FAKE).value for split, batches in splits.items()}
            integer = {split: scores_of_program(program, batches, self.task) for split, batches in splits.items()}
        return {
            "experiment": self.experiment,
            "seed": self.seed,
            "strategy": best.strategy,
            "architecture": best.architecture.hash,
            self.task.metric.name: {
                "decided": decided,  # the decided network in its quantized float form, as fine-tuned
                "integer": {split: scores.value for split, scores in integer.items()},
            },
            "target": {key: getattr(self.target, key) for key in ("name", "core", "optimize")},
            "input": _input_of(program),
            "costs": costs,
            "budgets": budgets,
            "lambdas": dict(point.lambdas),
            **self.task.summary(integer),
            **_zeros(network, program, self.pattern),
            "mismatches": {
                "numpy": check.mismatches,
                **check.others,
                "tensors_compared": check.tensors,
                "elements_compared": check.elements,
            },
        }

    def of_floats(self, teacher: Space, float_val: float) -> dict[str, float]:
        """The metric of the float network."""
        with self.ledger.part("measure"):
            test = scores_of(teacher, self._counted("measure the float network", "test"), self.task, FLOAT)
        return {"val": float_val, "test": test.value}

    def _counted(self, part: str, split: str) -> Counted:
        return Counted(self.whole(split), part, self.monitor)


def front_summary(found: list[dict[str, Any]], metric: str, axis: str, seed_cost: float) -> dict[str, Any]:
    """Hypervolume and knee of networks that `export` measured, over one of their costs."""
    costs = [one["costs"][axis]["found"] for one in found]
    values = {split: [one[metric]["integer"][split] for one in found] for split in ("val", "test")}
    volumes = {split: front_volume(costs, values["val"], each, seed_cost) for split, each in values.items()}
    return {
        "cost": axis,
        "reference": {"cost": seed_cost, metric: 0.0},
        "hypervolume": volumes,
        "knee": found[front_knee(costs, values["val"])]["point"],
    }


def refuse_mismatches(summary: Mapping[str, Any]) -> None:
    """Refuses a network whose executor and training differ. The summary is written before, so the defect is recorded.

    Raises:
        RuntimeError: there is a difference.
    """
    wrong = [name for name in BACKENDS if summary["mismatches"].get(name)]
    if wrong:
        raise RuntimeError(
            f"{summary['mismatches']}: {', '.join(wrong)} differs from what was measured: a defect, report it."
        )


def write_summary(folder: Path, summary: Mapping[str, Any]) -> None:
    """Writes summary.json, for programs and for people: a list of plain values stands in one line."""
    text = json.dumps(summary, indent=1)
    write_text(folder / "summary.json", PLAIN_LIST.sub(lambda found: re.sub(r"\s*\n\s*", " ", found[1]), text))


def _check_program(program: Program, costs: dict[str, dict[str, Any]]) -> None:
    """Checks that the figures of the cost models are those of the Program."""
    own = {"flash_bytes": program.flash_bytes, "peak_ram_bytes": program.peak_ram_bytes, "macs": program.macs}
    for name, weigh in own.items():
        if name in costs and weigh() != costs[name]["found"]:
            raise RuntimeError(
                f"{name}: the cost model says {costs[name]['found']}, the Program {weigh()}: a defect, report it."
            )


def _zeros(network: Space, program: Program, pattern: str) -> dict[str, Any]:
    """The zeros that a pattern made in the weights, and the bytes in formats that leave them out; {} without one."""
    if not pattern:
        return {}
    each = [weights.mask for weights in network.weights.values() if weights.spec.masked]
    zeros, total = sum(int((~mask).sum()) for mask in each), sum(mask.numel() for mask in each)
    counts = {"pattern": pattern, "weights": total, "zeros": zeros, "costs": DENSE}
    return {"pattern": counts | {"stored_bytes": stored_bytes(program)}}


def _input_of(program: Program) -> dict[str, Any]:
    """What `Executor.predict` takes."""
    info, preprocessing = program.tensors[program.inputs[0]], program.preprocessing
    assert preprocessing is not None  # a run's program has that of its data
    return {
        "shape": list(preprocessing.raw_shape(info.shape)),
        **preprocessing.to_json(),
        "dtype": preprocessing.raw_dtype,
        "takes_bytes": preprocessing.takes_bytes(info),
    }


def _number(value: float) -> float:
    return int(value) if float(value).is_integer() else value
