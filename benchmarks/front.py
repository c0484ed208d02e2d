"""Rivals on one space, at equal total epochs: accuracy of the integers at each budget, and hypervolumes over seeds.

`python -m benchmarks.front` resumes what it finds in its folder; `--quick` takes minutes; `--table FILE` writes a table
at the end. All strategies of a seed share one float network, whose epochs count for each. A network is chosen on
validation data; test data is read once, of what was chosen.
"""

import argparse
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise, repeat
from pathlib import Path

import numpy as np
from scipy.stats import kendalltau

from benchmarks.front_table import table
from benchmarks.searches import Searched, searched
from search.report.rivals import estimate
from spaces.files import write_text

QUICKLY = "strategy.val_images=1000"  # so that they see more candidates
MANY = ["strategy.trials=10000", QUICKLY]  # limits.epochs is what ends them
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
RANKED = 12  # random candidates, all of them retrained, for the rank correlation
RESAMPLES = 10_000


@dataclass(frozen=True)
class Contest:
    """A data set, and what searches on it have.

    Attributes:
        epochs: of every run, warm-up and fine-tuning included.
        searching: of these, the gradient's search.
    """

    data: str
    experiment: str
    budgets: tuple[int, ...]
    seeds: int
    epochs: int
    searching: int
    overrides: tuple[str, ...] = ()


SMALL = ("train.warmup.epochs=6", "train.finetune.epochs=5")
CONTESTS = (
    Contest("digits", "resnet8_digits", (38912, 19456, 9728, 4864, 3072), 5, 60, 13),
    Contest("fashion_mnist, 12,000 images", "resnet8_fashion", (19456, 4864, 3072), 3, 36, 8),
)
QUICK = (Contest("digits", "resnet8_digits", (9728, 3072), 1, 16, 4, SMALL),)


@dataclass(frozen=True)
class Job:
    contest: Contest
    strategy: str
    seed: int
    budget: int

    def folder(self, root: Path) -> Path:
        return root / self.contest.experiment / f"{self.strategy}_{self.budget}_{self.seed}"

    def run(self, root: Path) -> Searched:
        contest = self.contest
        shared = [f"+experiment={contest.experiment}", f"seed={self.seed}", *contest.overrides]
        if self.strategy == "float":
            briefly = ["train.finetune.epochs=1", "train.finetune.integer_epochs=0"]
            return searched(self.folder(root), [*shared, "budgets.flash_bytes=null", "strategy=fixed", *briefly])
        source = Job(contest, "float", self.seed, 0).folder(root)
        shared += [f"budgets.flash_bytes={self.budget}", f"train.warmup.source={source}"]
        if self.strategy == "ranking":
            own = ["strategy=random", f"strategy.trials={RANKED}", f"strategy.networks={RANKED}", QUICKLY]
        else:
            own = [f"limits.epochs={contest.epochs}", *STRATEGIES[self.strategy]]
            own += [f"strategy.epochs={contest.searching}"] if self.strategy == "gradient" else []
        return searched(self.folder(root), [*shared, *own])


def jobs(contest: Contest) -> Iterator[Job]:
    """Seed by seed, so that what is there of an unfinished benchmark compares all strategies."""
    for seed in range(contest.seeds):
        for budget in contest.budgets:
            for strategy in STRATEGIES:
                yield Job(contest, strategy, seed, budget)
        yield Job(contest, "ranking", seed, contest.budgets[len(contest.budgets) // 2])


def line_of(job: Job, done: Searched) -> dict[str, object]:
    accuracy = done.summary["accuracy"]["integer"]
    return {
        "benchmark": "front",
        "data": job.contest.data,
        "strategy": job.strategy,
        "seed": job.seed,
        "budget_bytes": job.budget,
        "flash_bytes": done.summary["costs"]["flash_bytes"]["found"],
        "accuracy": accuracy["test"],
        "accuracy_val": accuracy["val"],
        "epochs": round(done.summary["epochs"]["total"], 2),
        "seconds": None if done.seconds is None else round(done.seconds, 1),
        "peak_bytes": done.peak_bytes,
    }


def ranking_of(job: Job, done: Searched) -> dict[str, object]:
    """How well candidates are ranked before they are trained: Kendall's tau-b, None where all are as good."""
    searched_, trained = (
        [result.metrics[name] for result in done.results] for name in ("accuracy/val/searched", "accuracy/val")
    )
    tau = kendalltau(searched_, trained)
    return {
        "benchmark": "front",
        "data": job.contest.data,
        "ranking": len(trained),
        "seed": job.seed,
        "budget_bytes": job.budget,
        "kendall_tau": _finite(tau.statistic),
        "p": _finite(tau.pvalue),
    }


def _finite(value: float) -> float | None:
    return round(float(value), 3) if np.isfinite(value) else None


def volumes(contest: Contest, found: Mapping[Job, Searched]) -> Iterator[dict[str, object]]:
    """Of each strategy the mean hypervolume over seeds, and how far it is behind the gradient's of the same seeds.

    The first with a 95% interval by bootstrap, which is too narrow of so few seeds; the second with Student's.
    """
    every = {strategy: _volumes(contest, found, strategy) for strategy in STRATEGIES}
    for strategy, own in every.items():
        if not own:
            continue
        line: dict[str, object] = {"benchmark": "front", "data": contest.data, "strategy": strategy, "seeds": len(own)}
        line |= dict(zip(("hypervolume", "low", "high"), _bootstrapped(list(own.values())), strict=True))
        both = own.keys() & every["gradient"].keys()
        if strategy != "gradient" and both:
            behind = estimate(strategy, [every["gradient"][seed] - own[seed] for seed in sorted(both)])
            line["behind"] = round(behind.mean, 4)
            line["behind_half"] = None if behind.half is None else round(behind.half, 4)
        yield line


def _volumes(contest: Contest, found: Mapping[Job, Searched], strategy: str) -> dict[int, float]:
    """Of the seeds of which all budgets are there."""
    each = {}
    for seed in range(contest.seeds):
        own = {b: found[job].summary for b in contest.budgets if (job := Job(contest, strategy, seed, b)) in found}
        if len(own) == len(contest.budgets):
            costs = [summary["costs"]["flash_bytes"] for summary in own.values()]
            accuracies = [summary["accuracy"]["integer"]["test"] for summary in own.values()]
            each[seed] = volume(list(own), [cost["found"] for cost in costs], accuracies, costs[0]["seed_network"])
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two budgets, one seed, few epochs: minutes")
    parser.add_argument("--data", choices=["digits", "fashion_mnist"], help="one data set alone")
    parser.add_argument("--seeds", type=int, help="so many instead of all")
    parser.add_argument("--jobs", type=int, default=2, help="searches at once, a thread each")
    parser.add_argument("--folder", type=Path, help="of the runs; runs/front or runs/front_quick by default")
    parser.add_argument("--table", type=Path, help="write the table there as Markdown")
    arguments = parser.parse_args()
    root = arguments.folder or Path("runs/front_quick" if arguments.quick else "runs/front")
    lines: list[dict[str, object]] = []

    def say(line: dict[str, object]) -> None:
        lines.append(line)
        print(json.dumps(line), flush=True)
        write_text(root / "lines.jsonl", "".join(json.dumps(each) + "\n" for each in lines))

    for contest in QUICK if arguments.quick else CONTESTS:
        if arguments.data and not contest.data.startswith(arguments.data):
            continue
        _measure(
            replace(contest, seeds=min(contest.seeds, arguments.seeds or contest.seeds)), root, arguments.jobs, say
        )
    if arguments.table:
        flags = ["--quick"] * arguments.quick
        flags += [f"--{key} {value}" for key in ("data", "seeds") if (value := getattr(arguments, key))]
        command = " ".join(["python -m benchmarks.front", *flags])
        arguments.table.parent.mkdir(parents=True, exist_ok=True)
        arguments.table.write_text(table(lines, command))


def _measure(contest: Contest, root: Path, at_once: int, say: Callable[[dict[str, object]], None]) -> None:
    found = {}
    with ThreadPoolExecutor(at_once) as pool:
        floats = [Job(contest, "float", seed, 0) for seed in range(contest.seeds)]
        list(pool.map(Job.run, floats, repeat(root)))
        every = list(jobs(contest))
        for job, done in zip(every, pool.map(Job.run, every, repeat(root)), strict=True):
            found[job] = done
            say(ranking_of(job, done) if job.strategy == "ranking" else line_of(job, done))
    for line in volumes(contest, found):
        say(line)


if __name__ == "__main__":
    main()
