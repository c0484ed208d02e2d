"""Strategies on data, networks and schedules that nobody tuned them for, at equal total epochs.

`python -m benchmarks.robust` resumes what it finds in its folder; `--quick` takes ten minutes on two cores;
`--table FILE.md` writes a table at the end, and beside it FILE.jsonl, the lines that it was made of. All strategies of
a cell and a seed share one float network, whose epochs count for each. The gradient has its default settings. Each
rival has the best of three learning rates, which is chosen on validation data with seed 0 and kept for the other seeds.
Test data chooses nothing. A data set whose source is not here is skipped; options below say where a source is.
"""

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock

from benchmarks.front import WIDTHS, count
from benchmarks.lines import Key, Line, Lines, command, written
from benchmarks.robust_cells import CELLS, MODELS, QUICK, Cell, Epochs, Setting
from benchmarks.robust_data import made
from benchmarks.robust_sources import SourceMissing, Sources
from benchmarks.robust_table import table
from benchmarks.robust_verdicts import best_rate, judged, verdicts
from benchmarks.searches import Searched, searched
from search.atomic import write_text
from search.config import composed
from search.experiment import prepare
from search.model import model_maker
from search.settings.run import FinetuneSettings
from search.settings.strategies import MagnitudeSettings

DRAWS = ["strategy.trials=200"]  # or fewer, where limits.epochs or 20,000 attempts to meet the budget end them
STRATEGIES = {
    "gradient": ["strategy=gradient"],
    "sensitivity": ["strategy=sensitivity", "strategy.estimate=gradient"],
    **{f"fixed {b}": ["strategy=fixed", f"strategy.weight_bits={b}", f"strategy.widths=[{WIDTHS}]"] for b in (8, 4, 2)},
    "magnitude": ["strategy=magnitude", "strategy.weight_bits=4"],
    "random": ["strategy=random", *DRAWS, "strategy.val_images=1000"],
}
DEFAULT_RATE, RATES = "1", {"1/3": 1 / 3, "1": 1.0, "3": 3.0}  # factors on default learning rates
PRUNING_STEPS = 4
KEY = ("network", "data", "batch", "schedule", "budgets", "strategy", "seed", "rate")  # of a line
DIVERGED = re.compile(r"the loss is (nan|-?inf)")


@dataclass(frozen=True)
class Contest:
    """A setting with what is known before anything is trained.

    Attributes:
        costs: cost -> what the network comes to at 8 bits.
        counts: split -> its examples.
    """

    setting: Setting
    file: Path
    costs: dict[str, float]
    counts: dict[str, int]
    classes: int

    @property
    def epochs(self) -> Epochs:
        return self.setting.epochs(self.counts["train"])

    def budgets(self, cell: Cell) -> dict[str, int]:
        parts = {"flash_bytes": cell.flash, "peak_ram_bytes": cell.ram}
        return {name: int(self.costs[name] / part) for name, part in parts.items() if part}


def contest_of(setting: Setting, file: Path) -> Contest:
    """Makes the network, and trains nothing."""
    settings = composed([*_network(setting), f"data.file={file}"])
    experiment = prepare(settings, model_maker(settings.model))
    data = experiment.data
    counts = {split: len(data.split(split)) for split in ("train", "val", "test")}
    return Contest(setting, file, dict(experiment.seed_costs), counts, len(data.classes))


def _network(setting: Setting) -> list[str]:
    return ["data=npz", "data.has_channels=true", *MODELS[setting.network, setting.data]]


@dataclass(frozen=True)
class Job:
    """One run. The float network of a cell and a seed is one as well; it has no line.

    Attributes:
        rate: of RATES: the factor on the learning rate of fine-tuning, and on that of pruning.
    """

    contest: Contest
    cell: Cell
    strategy: str
    seed: int
    rate: str = DEFAULT_RATE

    @property
    def key(self) -> Key:
        s = self.cell.setting
        return s.network, s.data, s.batch, s.schedule, self.cell.budgets, self.strategy, self.seed, self.rate

    def folder(self, root: Path) -> Path:
        own = (self.cell.budgets, self.strategy.replace(" ", ""), f"lr{self.rate.replace('/', 'over')}")
        parts = ("float",) if self.strategy == "float" else own
        return root / self.cell.setting.name / "_".join([*parts, str(self.seed)])

    def settings(self) -> list[str]:
        """All but the folders."""
        epochs, setting = self.contest.epochs, self.cell.setting
        shared = [*_network(setting), f"seed={self.seed}", f"train.batch_size={setting.batch}"]
        shared.append(f"train.warmup.epochs={epochs.warmup}")
        if self.strategy == "float":
            return [*shared, "strategy=fixed", "train.finetune.epochs=1", "train.finetune.integer_epochs=0"]
        shared += [f"budgets.{name}={limit}" for name, limit in self.contest.budgets(self.cell).items()]
        shared += [f"limits.epochs={epochs.total}", f"train.finetune.epochs={epochs.finetune}"]
        return [*shared, *STRATEGIES[self.strategy], *self._own(epochs)]

    def _own(self, epochs: Epochs) -> list[str]:
        steps = min(PRUNING_STEPS, epochs.search)
        own = [f"strategy.steps={steps}"] if self.strategy == "magnitude" else []
        if self.rate != DEFAULT_RATE:
            own.append(f"train.finetune.lr={self.lr:.6g}")
            own += [f"strategy.lr={RATES[self.rate] * MagnitudeSettings().lr:.6g}"] * (self.strategy == "magnitude")
        return own

    @property
    def lr(self) -> float:
        """Of fine-tuning."""
        return RATES[self.rate] * FinetuneSettings().lr

    def run(self, root: Path) -> Searched:
        own = [f"data.file={self.contest.file.absolute()}"]
        if self.strategy != "float":
            source = Job(self.contest, self.cell, "float", self.seed).folder(root)
            own.append(f"train.warmup.source={source.absolute()}")
        return searched(self.folder(root), [*self.settings(), *own])


def line_of(job: Job, done: Searched | None) -> Line:
    """Of a run; None: its loss was not finite, so that it has no network."""
    budgets, epochs = job.contest.budgets(job.cell), job.contest.epochs
    line: Line = {"benchmark": "robust", **dict(zip(KEY, job.key, strict=True)), "lr": job.lr}
    line |= {"steps": epochs.search * epochs.steps, "flash_part": job.cell.flash, "images": job.contest.counts}
    line |= {"classes": job.contest.classes}
    line |= {"budget": budgets["flash_bytes"], "budget_ram": budgets.get("peak_ram_bytes")}
    line |= {"used": None, "used_ram": None, "float": None, "decided": None, "integer": None}
    if done is not None:
        costs, accuracy = done.summary["costs"], done.summary["accuracy"]
        line |= {"used": costs["flash_bytes"]["found"], "used_ram": costs["peak_ram_bytes"]["found"]}
        line |= {name: accuracy[name] for name in ("float", "decided", "integer")}
        line |= {"val": {k.removeprefix("accuracy/val/"): round(v, 4) for k, v in done.results[-1].metrics.items()}}
        line |= {"epochs": round(done.summary["epochs"]["total"], 2), "peak_bytes": done.peak_bytes}
        line |= {"seconds": None if done.seconds is None else round(done.seconds, 1)}
    return line | {"collapsed": None, "settings": " ".join(job.settings())}


class Grid:
    """The runs of some cells, in one folder."""

    def __init__(self, root: Path, seeds: int) -> None:
        self.root, self.seeds = root, seeds
        self.lines = Lines(root / "lines.jsonl", KEY)
        self.failed: list[Path] = []
        self.stop = Event()  # no run begins any more
        self._floats: dict[Path, Lock] = {}  # folder -> held while its float network is trained

    def measure(self, contest: Contest, cell: Cell, strategy: str) -> None:
        """Runs what has no line yet of a strategy in a cell, one seed after the other."""
        for seed in range(self.seeds):
            for rate in self._rates(contest, cell, strategy, seed):
                if self.stop.is_set():
                    return
                self._measure(Job(contest, cell, strategy, seed, rate))

    def judge(self, contest: Contest, cells: Sequence[Cell]) -> None:
        """Says of each run of cells that are whole whether it collapsed."""
        for cell in cells:
            judged(self.of(contest, cell))
        self.lines.write()

    def _rates(self, contest: Contest, cell: Cell, strategy: str, seed: int) -> list[str]:
        if strategy == "gradient":
            return [DEFAULT_RATE]
        if seed == 0:
            return list(RATES)
        best = best_rate([line for line in self.of(contest, cell) if line["strategy"] == strategy])
        return [best] if best else []

    def of(self, contest: Contest, cell: Cell) -> list[Line]:
        """The lines of a cell."""
        start = Job(contest, cell, "", 0).key[: KEY.index("strategy")]
        return [line for key, line in list(self.lines.runs.items()) if key[: len(start)] == start]

    def _measure(self, job: Job) -> None:
        if self.lines.has(job.key, " ".join(job.settings())):
            return
        try:
            source = Job(job.contest, job.cell, "float", job.seed)
            with self._floats.setdefault(source.folder(self.root), Lock()):
                source.run(self.root)
            done = job.run(self.root)
        except RuntimeError as error:
            if not DIVERGED.search(str(error)):
                self.failed.append(job.folder(self.root))
                print(f"{job.folder(self.root)}: {error}", file=sys.stderr, flush=True)
                return
            done = None
        self.lines.add(job.key, line_of(job, done))


def contests(cells: Sequence[Cell], folder: Path, sources: Sources) -> list[tuple[Contest, list[Cell]]]:
    """Cells by what their float networks depend on. Those whose data is not here are left out, with a note."""
    by_setting: dict[Setting, list[Cell]] = {}
    for cell in cells:
        by_setting.setdefault(cell.setting, []).append(cell)
    found = []
    for setting, own in by_setting.items():
        try:
            found.append((contest_of(setting, made(setting.data, folder, sources)), own))
        except SourceMissing as error:
            print(f"skipped: {setting.name}: {error}", file=sys.stderr, flush=True)
    return found


def main() -> None:
    arguments = _arguments()
    root = arguments.folder or Path("runs/robust_quick" if arguments.quick else "runs/robust")
    cells = [cell for cell in (QUICK if arguments.quick else CELLS) if arguments.only in cell.name]
    grid = Grid(root, arguments.seeds or (1 if arguments.quick else 2))
    sides = contests(cells, root / "data", Sources.of(arguments))
    with ThreadPoolExecutor(arguments.jobs) as pool:
        try:
            list(pool.map(lambda each: grid.measure(*each), _contestants(sides)))
        except BaseException:
            grid.stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    for side in sides:
        grid.judge(*side)
    if not sides:
        sys.exit(f"No cell is left of those whose name has '{arguments.only}' in it.")
    lines = [line for contest, own in sides for cell in own for line in grid.of(contest, cell)]
    found = [*lines, *verdicts(lines)]
    print(written(found[len(lines) :]), end="", flush=True)
    if arguments.table:
        write_text(arguments.table.with_suffix(".jsonl"), written(found))
        said = command("robust", arguments, "quick", "only", "seeds")
        write_text(arguments.table, table(found, said, len(cells)))
    if grid.failed:
        sys.exit(f"{len(grid.failed)} runs failed, see above. Start again to repeat them.")


def _contestants(sides: Sequence[tuple[Contest, list[Cell]]]) -> Iterator[tuple[Contest, Cell, str]]:
    for contest, cells in sides:
        yield from ((contest, cell, strategy) for cell in cells for strategy in STRATEGIES)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="three small cells, one seed: ten minutes")
    parser.add_argument("--only", default="", help="cells whose name has this in it, for example tcn_motion")
    parser.add_argument("--seeds", type=count, help="so many instead of 2")
    parser.add_argument("--jobs", type=count, default=2, help="runs at once, a thread each")
    parser.add_argument("--folder", type=Path, help="of the runs; runs/robust or runs/robust_quick by default")
    parser.add_argument("--table", type=Path, help="write it there as Markdown, and its lines beside it")
    Sources.add_options(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
