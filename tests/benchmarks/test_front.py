"""What the comparison of rivals makes of its runs, against counts by hand."""

import json
import math
import sys
from argparse import Namespace
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from benchmarks import front
from benchmarks.front import CONTESTS, KEY, QUICK, Contest, Job, jobs, line_of, volume, volumes
from benchmarks.front import STRATEGIES as RIVALS
from benchmarks.front_table import table
from benchmarks.lines import Lines, command
from benchmarks.searches import searched
from search.config import composed
from search.strategies import STRATEGIES

ROOT = Path(__file__).parents[2]
DOCS, README = ROOT / "docs", (ROOT / "README.md").read_text()
BUDGETS = (4096, 1024)
CONTEST = Contest("digits", "resnet8_digits", BUDGETS, seeds=3, epochs=60, searching=13, tuning=27)


@dataclass
class Run:
    """As much of a search as is read."""

    summary: dict
    results: list = field(default_factory=list)
    seconds: float | None = 10.0
    peak_bytes: int | None = 10**8


@dataclass
class Candidate:
    costs: dict
    metrics: dict


def ran(flash, test, val=1.0):
    cost = {"found": flash, "seed_network": 16384}
    accuracy = {"integer": {"test": test, "val": val}}
    return Run({"costs": {"flash_bytes": cost}, "accuracy": accuracy, "epochs": {"total": 60}})


@pytest.fixture
def found(tmp_path):
    """Strategy -> test accuracy at 4,096 B, a seed each; at 1,024 B it is 0.1 less."""

    def make(**tests):
        lines = Lines(tmp_path / "lines.jsonl", KEY)
        for strategy, accuracies in tests.items():
            for seed, accuracy in enumerate(accuracies):
                for budget in BUDGETS:
                    job = Job(CONTEST, strategy, seed, budget)
                    lines.add(job.key, line_of(job, ran(budget, accuracy - 0.1 * (budget == 1024))))
        return lines

    return make


@pytest.mark.parametrize(
    ("flash", "accuracies", "expected"),
    [
        ((4096, 1024), (0.9, 0.8), 0.9 * 2 + 0.8 * 2),
        ((2048, 1024), (0.9, 0.8), 0.9 * 3 + 0.8 * 1),  # less than the budget serves lower limits too
        ((2048, 512), (0.9, 0.8), 0.9 * 3 + 0.8 * 1),  # below the least budget there are no limits
        ((512, 1024), (0.9, 0.8), 0.9 * 4),  # the larger budget's network fits everywhere
        ((4096, 1024), (0.7, 0.8), 0.7 * 2 + 0.8 * 2),  # nothing is chosen among budgets
    ],
)
def test_a_volume_is_the_accuracy_of_each_octave(flash, accuracies, expected):
    assert volume(BUDGETS, flash, accuracies, 16384) == pytest.approx(expected)
    assert volume(BUDGETS[::-1], flash[::-1], accuracies[::-1], 16384) == pytest.approx(expected)


def test_rivals_are_behind_the_gradient_of_the_same_seed(found):
    own = found(gradient=[0.90, 0.92, 0.94], tpe=[0.89, 0.90, 0.91])
    gradient, tpe = volumes(CONTEST, own)
    assert gradient["seeds"] == 3 and "behind" not in gradient
    assert gradient["hypervolume"] == pytest.approx(4 * 0.92 - 0.2) and gradient["low"] < gradient["hypervolume"]
    assert tpe["behind"] == pytest.approx(4 * 0.02)
    assert tpe["behind_half"] == pytest.approx(4.303 * 4 * 0.01 / math.sqrt(3), abs=1e-4)  # Student's, two freedoms


def test_seeds_without_all_budgets_do_not_count(found):
    own = found(gradient=[0.9, 0.9], tpe=[0.8, 0.8])
    del own.runs[Job(CONTEST, "tpe", 1, 1024).key]
    _, tpe = volumes(CONTEST, own)
    assert tpe["seeds"] == 1 and tpe["behind"] == pytest.approx(0.4) and tpe["behind_half"] is None


def ranking(*candidates):
    """Of (flash, accuracy before training, and after it)."""
    metrics = [{"accuracy/val/searched": before, "accuracy/val": after} for _, before, after in candidates]
    results = [Candidate({"flash_bytes": flash}, m) for (flash, *_), m in zip(candidates, metrics, strict=True)]
    return line_of(Job(CONTEST, "ranking", 0, 1024), Run({}, results))


def test_the_smallest_candidate_does_not_make_a_ranking_look_good():
    own = [(20, 0.5, 0.8), (30, 0.4, 0.7), (40, 0.3, 0.9)]  # one pair of three as before training
    line = ranking(*own, (10, 0.1, 0.1))
    assert line["candidates"] == 3 and line["kendall_tau"] == pytest.approx(-1 / 3, abs=1e-3)


def test_ranks_of_candidates_that_are_all_as_good_are_none_and_still_json():
    line = ranking((10, 0.1, 0.1), (20, 0.3, 1.0), (30, 0.5, 1.0))
    assert line["kendall_tau"] is None and "NaN" not in json.dumps(line)


def test_the_table_says_what_the_lines_say(found):
    own = found(gradient=[0.90, 0.92, 0.94], tpe=[0.89, 0.90, 0.91])
    resumed = own.runs[Job(CONTEST, "tpe", 0, 1024).key]
    resumed["seconds"] = resumed["peak_bytes"] = None  # in two processes
    ranked = ranking((10, 0.1, 0.1), (20, 0.3, 1.0), (30, 0.5, 1.0))
    text = table([*own.runs.values(), ranked, *volumes(CONTEST, own)], "python -m benchmarks.front")
    assert "| gradient | 92.00 ± 2.00 | 82.00 ± 2.00 | 3.480 (3.400 to 3.560) |  | 10 | 100 |" in text
    assert "| tpe | 90.00 ± 1.00 | 80.00 ± 1.00 | 3.400 (3.360 to 3.440) | 0.080 ± 0.099 | 10 | 100 |" in text
    assert "Kendall's tau of 2 random candidates at 1,024 B" in text and "none (all are as good)" in text
    assert "Seeds 0, 1, 2; 60.0 to 60.0 epochs a run." in text


def test_lines_that_are_there_are_not_measured_again(found):
    job = Job(CONTEST, "tpe", 0, 4096)
    settings = " ".join(job.settings())
    path = found(tpe=[0.9]).path
    path.write_text(path.read_text() + json.dumps({"strategy": "tpe", "hypervolume": 3.0}) + "\n")
    again = Lines(path, KEY)
    assert again.has(job.key, settings) and not again.has(Job(CONTEST, "tpe", 1, 4096).key, settings)
    with pytest.raises(ValueError, match=r"was measured with .*limits.epochs=60.*Delete that line"):
        again.has(job.key, settings.replace("limits.epochs=60", "limits.epochs=600"))
    path.write_text('{"seed": 0}\n')
    with pytest.raises(ValueError, match=r"lines.jsonl, line 1: damaged \('data'\). Delete it"):
        Lines(path, KEY)


@pytest.mark.parametrize(
    "contest",
    [pytest.param(CONTESTS[0], marks=pytest.mark.slow), *CONTESTS[1:], *QUICK],
    ids=lambda contest: f"{contest.data} {contest.epochs}",
)
def test_every_job_is_a_search_of_as_many_epochs(contest):
    some = [job for job in jobs(contest) if job.seed == 0 and job.budget in contest.budgets[1:3]]
    assert {job.strategy for job in some} >= RIVALS.keys()
    for job in some:
        settings = composed(job.settings())
        assert dict(settings.budgets) == {"flash_bytes": job.budget}
        if job.strategy != "ranking":
            assert settings.limits.epochs == contest.epochs
            assert contest.epochs == settings.train.warmup.epochs + contest.searching + contest.tuning
            left = contest.epochs - settings.train.warmup.epochs
            planned = STRATEGIES[settings.strategy.name](settings.strategy)
            assert planned.plan(1, settings.train.finetune.epochs, left)


def test_the_published_table_is_made_of_the_published_lines():
    lines = [json.loads(line) for line in (DOCS / "front.jsonl").read_text().splitlines()]
    assert (DOCS / "front.md").read_text() == table(lines, "python -m benchmarks.front")
    runs = [line for line in lines if "accuracy" in line]
    assert len(runs) == sum(job.strategy != "ranking" for contest in CONTESTS for job in jobs(contest))
    most = {contest.data: contest.epochs for contest in CONTESTS}
    assert all(most[line["data"]] - 1 <= line["epochs"] <= most[line["data"]] for line in runs)
    summed = [line for contest in CONTESTS for line in volumes(contest, Lines(DOCS / "front.jsonl", KEY))]
    assert summed == [line for line in lines if "hypervolume" in line]


def test_the_readme_quotes_the_published_table():
    quoted = [row for row in README.splitlines() if row.startswith(tuple(f"| {name} | 8" for name in RIVALS))]
    assert len(quoted) == len(RIVALS)
    table_ = (DOCS / "front.md").read_text()
    assert all(row.removesuffix(" |") in table_ for row in quoted)


def test_a_search_that_began_with_other_settings_is_not_gone_on_with(tmp_path):
    folder = tmp_path / "search"
    folder.mkdir()
    (folder / "config.yaml").write_text("")
    (tmp_path / "search.json").write_text(json.dumps({"overrides": ["seed=0"]}))
    with pytest.raises(RuntimeError, match=r"holds a search with other overrides. Delete it"):
        searched(folder, ["seed=1"])


def test_a_table_names_the_options_that_decide_what_is_in_it():
    given = Namespace(quick=True, only="tcn motion", seeds=3, jobs=2)
    assert (
        command("robust", given, "quick", "only", "seeds")
        == "python -m benchmarks.robust --quick --only 'tcn motion' --seeds 3"
    )
    nothing = Namespace(quick=False, only="", seeds=None)
    assert command("robust", nothing, "quick", "only", "seeds") == "python -m benchmarks.robust"


def test_options_that_leave_nothing_to_measure_are_refused(tmp_path, monkeypatch, capsys):
    file = tmp_path / "front.md"
    monkeypatch.setattr(sys, "argv", ["front", "--quick", "--data", "fashion_mnist", "--table", str(file)])
    with pytest.raises(SystemExit):
        front.main()
    assert "--data fashion_mnist found with --quick, which is about digits alone" in capsys.readouterr().err
    assert not file.exists()
