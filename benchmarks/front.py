"""Rivals on one space, at equal total epochs: accuracy of the integers at each budget, and hypervolumes over seeds.

`python -m benchmarks.front` resumes what it finds in its folder; `--quick` takes minutes; `--table FILE.md` writes a
table at the end, and beside it FILE.jsonl, the lines that it was made of. All strategies of a seed share one float
network, whose epochs count for each. Validation data chooses a network; test data is read once, of what was chosen.
"""

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from itertools import pairwise, repeat
from pathlib import Path

import numpy as np
from scipy.stats import kendalltau

from benchmarks.front_table import table
from benchmarks.lines import Key, Line, Lines, command, written
from benchmarks.searches import Searched, searched
from search.atomic import write_text
from search.report.rivals import estimate

QUICKLY = "strategy.val_images=1000"  # so that they see more candidates
MANY = ["strategy.trials=10000", "strategy.attempts=1000000", QUICKLY]  # limits.epochs is what ends them
WIDTHS = ",".join(f"{step / 64:g}" for step in range(1, 65))
SWEEP = ["strategy=fixed", "strategy.weight_bits=[2,4,8]", f"strategy.widths=[{WIDTHS}]"]
STRATEGIES = {
    "gradient": ["strategy=gradient"],
    "uniform": SWEEP,
    "magnitude": ["strategy=magnitude", "strategy.steps=5", "strategy.weight_bits=4"],
    "sensitivity": ["strategy=sensitivity", "strategy.batches=1"],
    "random": ["strategy=random", *MANY],
    "tpe": ["strategy=tpe", *MANY],
    "nsga2": ["strategy=nsga2", *MANY],
    "evolution": ["strategy=evolution", *MANY],
}
BLACK_BOXES = ("random", "tpe", "nsga2", "evolution")
KEY = ("data", "strategy", "seed", "budget_bytes")  # of a line
RANKED = 12  # random candidates, all of them retrained, for the rank correlation
RESAMPLES = 10_000


@dataclass(frozen=True)
class Contest:
    """A data set, and what searches on it have.

    Attributes:
        epochs: of every run: warm-up, searching and tuning.
        searching: of all that train or measure before they decide; sensitivity and uniform tune instead.
        tuning: what was decided.
    """

    data: str
    experiment: str
    budgets: tuple[int, ...]
    seeds: int
    epochs: int
    searching: int
    tuning: int
    overrides: tuple[str, ...] = ()


CONTESTS = (
    Contest(
        data="digits",
        experiment="resnet8_digits",
        budgets=(38912, 19456, 9728, 4864, 3072),
        seeds=5,
        epochs=60,
        searching=13,
        tuning=27,
    ),
    Contest(
        data="fashion_mnist, 12,000 images",
        experiment="resnet8_fashion",
        budgets=(19456, 4864, 3072),
        seeds=3,
        epochs=36,
        searching=8,
        tuning=16,
    ),
)
SMALL = ("train.warmup.epochs=6", "train.finetune.epochs=5")
QUICK = (
    Contest(
        data="digits",
        experiment="resnet8_digits",
        budgets=(9728, 3072),
        seeds=1,
        epochs=16,
        searching=5,
        tuning=5,
        overrides=SMALL,
    ),
)


@dataclass(frozen=True)
class Job:
    contest: Contest
    strategy: str
    seed: int
    budget: int

    @property
    def key(self) -> Key:
        return self.contest.data, self.strategy, self.seed, self.budget

    def folder(self, root: Path) -> Path:
        return root / self.contest.experiment / f"{self.strategy}_{self.budget}_{self.seed}"

    def settings(self) -> list[str]:
        """All but the folders."""
        contest, strategy = self.contest, self.strategy
        shared = [f"+experiment={contest.experiment}", f"seed={self.seed}", *contest.overrides]
        if strategy == "float":
            briefly = ["train.finetune.epochs=1", "train.finetune.integer_epochs=0"]
            return [*shared, "budgets.flash_bytes=null", "strategy=fixed", *briefly]
        shared.append(f"budgets.flash_bytes={self.budget}")
        if strategy == "ranking":
            count = RANKED + 1  # see ranking_of
            return [*shared, "strategy=random", f"strategy.trials={count}", f"strategy.networks={count}", QUICKLY]
        own = [f"limits.epochs={contest.epochs}", *STRATEGIES[strategy]]
        if strategy in ("gradient", "magnitude"):
            own.append(f"strategy.epochs={contest.searching}")
        if strategy in BLACK_BOXES:
            own.append(f"train.finetune.epochs={contest.tuning}")
        return [*shared, *own]

    def run(self, root: Path) -> Searched:
        source = Job(self.contest, "float", self.seed, 0).folder(root)
        from_there = [] if self.strategy == "float" else [f"train.warmup.source={source}"]
        return searched(self.folder(root), [*self.settings(), *from_there])


def jobs(contest: Contest) -> Iterator[Job]:
    """Seed by seed, so that what is there of an unfinished benchmark compares all strategies; rankings last."""
    for seed in range(contest.seeds):
        for budget in contest.budgets:
            for strategy in STRATEGIES:
                yield Job(contest, strategy, seed, budget)
    for seed in range(contest.seeds):
        yield Job(contest, "ranking", seed, contest.budgets[len(contest.budgets) // 2])


def line_of(job: Job, done: Searched) -> Line:
    line = {
        "benchmark": "front",
        "data": job.contest.data,
        "strategy": job.strategy,
        "seed": job.seed,
        "budget_bytes": job.budget,
    }
    own = ranking_of(done) if job.strategy == "ranking" else _found(done)
    return line | own | {"settings": " ".join(job.settings())}


def _found(done: Searched) -> Line:
    accuracy, flash = done.summary["accuracy"]["integer"], done.summary["costs"]["flash_bytes"]
    return {
        "flash_bytes": flash["found"],
        "flash_bytes_unpruned": flash["seed_network"],
        "accuracy": accuracy["test"],
        "accuracy_val": accuracy["val"],
        "epochs": round(done.summary["epochs"]["total"], 2),
        "seconds": None if done.seconds is None else round(done.seconds, 1),
        "peak_bytes": done.peak_bytes,
    }


def ranking_of(done: Searched) -> Line:
    """How well candidates are ranked before they are trained: Kendall's tau-b, None where all are as good.

    The smallest candidate does not count: searches begin with the lowest of every parameter, which is last before
    training and after it.
    """
    drawn = sorted(done.results, key=lambda result: result.costs["flash_bytes"])[1:]
    before, after = ([r.metrics[name] for r in drawn] for name in ("accuracy/val/searched", "accuracy/val"))
    tau = kendalltau(before, after)
    return {"candidates": len(drawn), "kendall_tau": _finite(tau.statistic), "p": _finite(tau.pvalue)}


def _finite(value: float) -> float | None:
    return round(float(value), 3) if np.isfinite(value) else None


def volumes(contest: Contest, lines: Lines) -> Iterator[Line]:
    """Of each strategy the mean hypervolume over seeds, and how far it is behind the gradient's of the same seeds.

    The first with a 95% interval by bootstrap, which is too narrow of so few seeds; the second with Student's.
    """
    every = {strategy: _volumes(contest, lines, strategy) for strategy in STRATEGIES}
    for strategy, own in every.items():
        if not own:
            continue
        line: Line = {"benchmark": "front", "data": contest.data, "strategy": strategy, "seeds": len(own)}
        line |= dict(zip(("hypervolume", "low", "high"), _bootstrapped(list(own.values())), strict=True))
        both = own.keys() & every["gradient"].keys()
        if strategy != "gradient" and both:
            behind = estimate(strategy, [every["gradient"][seed] - own[seed] for seed in sorted(both)])
            line["behind"] = round(behind.mean, 4)
            line["behind_half"] = None if behind.half is None else round(behind.half, 4)
        yield line


def _volumes(contest: Contest, lines: Lines, strategy: str) -> dict[int, float]:
    """Of the seeds of which all budgets are there."""
    each = {}
    for seed in range(contest.seeds):
        own = [lines.runs.get(Job(contest, strategy, seed, budget).key) for budget in contest.budgets]
        having = [line for line in own if line is not None]
        if len(having) == len(own):
            flash, accuracies = ([line[name] for line in having] for name in ("flash_bytes", "accuracy"))
            each[seed] = volume(contest.budgets, flash, accuracies, having[0]["flash_bytes_unpruned"])
    return each


def volume(budgets: Sequence[float], flash: Sequence[float], accuracies: Sequence[float], most: float) -> float:
    """Test accuracy that a limit on flash allows, 0 to 1, over octaves of that limit, from the least budget to `most`.

    At a limit counts the network of the largest budget whose flash is within it. So nothing is chosen among budgets: on
    a few hundred images of validation data ties and luck would. What is below the least budget counts as if it filled
    that: nobody asked for less.
    """
    least = min(budgets)
    networks = [(max(f, least), b, a) for f, b, a in zip(flash, budgets, accuracies, strict=True)]
    edges = sorted({f for f, _, _ in networks} | {most})
    total = 0.0
    for low, high in pairwise(edges):
        _, accuracy = max((b, a) for f, b, a in networks if f <= low)
        total += accuracy * math.log2(high / low)
    return total


def _bootstrapped(values: Sequence[float]) -> list[float]:
    """Mean, and the ends of its interval."""
    draws = np.random.default_rng(0).choice(values, (RESAMPLES, len(values))).mean(1)
    return [round(float(v), 4) for v in (np.mean(values), *np.quantile(draws, (0.025, 0.975)))]


def count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number from 1")
    return int(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two budgets, one seed, few epochs: minutes")
    parser.add_argument("--data", choices=["digits", "fashion_mnist"], help="one data set alone")
    parser.add_argument("--seeds", type=count, help="so many instead of all")
    parser.add_argument("--jobs", type=count, default=2, help="searches at once, a thread each")
    parser.add_argument("--folder", type=Path, help="of the runs; runs/front or runs/front_quick by default")
    parser.add_argument("--table", type=Path, help="write it there as Markdown, and its lines beside it")
    arguments = parser.parse_args()
    root = arguments.folder or Path("runs/front_quick" if arguments.quick else "runs/front")
    contests = [
        replace(contest, seeds=min(contest.seeds, arguments.seeds or contest.seeds))
        for contest in (QUICK if arguments.quick else CONTESTS)
        if contest.data.startswith(arguments.data or "")
    ]
    if not contests:
        parser.error(
            f"--data {arguments.data} found with --quick, which is about {QUICK[0].data} alone. Leave one out."
        )
    lines = Lines(root / "lines.jsonl", KEY)
    failed = [job for contest in contests for job in _measure(contest, root, arguments.jobs, lines)]
    found: list[Line] = []
    for contest in contests:
        found += [lines.runs[job.key] for job in jobs(contest) if job.key in lines.runs]
        for line in volumes(contest, lines):
            print(written([line]), end="", flush=True)
            found.append(line)
    if arguments.table:
        write_text(arguments.table.with_suffix(".jsonl"), written(found))
        write_text(arguments.table, table(found, command("front", arguments, "quick", "data", "seeds")))
    if failed:
        sys.exit(f"{len(failed)} searches failed, see above. Start again to repeat them.")


def _measure(contest: Contest, root: Path, at_once: int, lines: Lines) -> list[Job]:
    """Runs what has no line yet. Returns the jobs that failed."""
    left = [job for job in jobs(contest) if not lines.has(job.key, " ".join(job.settings()))]
    floats = [Job(contest, "float", seed, 0) for seed in sorted({job.seed for job in left})]
    failed = []
    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(Job.run, floats, repeat(root)))
        running: dict[Future[Searched], Job] = {pool.submit(job.run, root): job for job in left}
        try:
            for done in as_completed(running):
                job = running[done]
                try:
                    lines.add(job.key, line_of(job, done.result()))
                except RuntimeError as error:
                    failed.append(job)
                    print(f"{job.folder(root)}: {error}", file=sys.stderr, flush=True)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return failed


if __name__ == "__main__":
    main()
