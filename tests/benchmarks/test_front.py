"""What the comparison of rivals makes of its runs, against counts by hand."""

import json
import math
from dataclasses import dataclass, field

import pytest

from benchmarks.front import Contest, Job, line_of, ranking_of, volume, volumes
from benchmarks.front_table import table
from benchmarks.searches import searched

BUDGETS = (4096, 1024)
CONTEST = Contest("digits", "resnet8_digits", BUDGETS, seeds=3, epochs=60, searching=13)


@dataclass
class Run:
    """As much of a search as is read."""

    summary: dict
    results: list = field(default_factory=list)
    seconds: float | None = 10.0
    peak_bytes: int | None = 10**8


@dataclass
class Candidate:
    metrics: dict


def ran(flash, test, val=1.0):
    cost = {"found": flash, "seed_network": 16384}
    accuracy = {"integer": {"test": test, "val": val}}
    return Run({"costs": {"flash_bytes": cost}, "accuracy": accuracy, "epochs": {"total": 60}})


def found(**tests):
    """Strategy -> test accuracy at 4,096 B, a seed each; at 1,024 B it is 0.1 less."""
    return {
        Job(CONTEST, strategy, seed, budget): ran(budget, accuracy - 0.1 * (budget == 1024))
        for strategy, accuracies in tests.items()
        for seed, accuracy in enumerate(accuracies)
        for budget in BUDGETS
    }


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


def test_rivals_are_behind_the_gradient_of_the_same_seed():
    own = found(gradient=[0.90, 0.92, 0.94], tpe=[0.89, 0.90, 0.91])
    gradient, tpe = volumes(CONTEST, own)
    assert gradient["seeds"] == 3 and "behind" not in gradient
    assert gradient["hypervolume"] == pytest.approx(4 * 0.92 - 0.2) and gradient["low"] < gradient["hypervolume"]
    assert tpe["behind"] == pytest.approx(4 * 0.02)
    assert tpe["behind_half"] == pytest.approx(4.303 * 4 * 0.01 / math.sqrt(3), abs=1e-4)  # Student's, two freedoms


def test_seeds_without_all_budgets_do_not_count():
    own = found(gradient=[0.9, 0.9], tpe=[0.8, 0.8])
    del own[Job(CONTEST, "tpe", 1, 1024)]
    _, tpe = volumes(CONTEST, own)
    assert tpe["seeds"] == 1 and tpe["behind"] == pytest.approx(0.4) and tpe["behind_half"] is None


def test_ranks_of_candidates_that_are_all_as_good_are_none_and_still_json():
    job = Job(CONTEST, "ranking", 0, 1024)
    alike = [Candidate({"accuracy/val/searched": searched, "accuracy/val": 1.0}) for searched in (0.3, 0.5)]
    line = ranking_of(job, Run({}, alike))
    assert line["kendall_tau"] is None and "NaN" not in json.dumps(line)
    rising = [Candidate({"accuracy/val/searched": v, "accuracy/val": v / 2}) for v in (0.3, 0.5, 0.4)]
    assert ranking_of(job, Run({}, rising))["kendall_tau"] == 1.0


def test_the_table_says_what_the_lines_say():
    own = found(gradient=[0.90, 0.92, 0.94], tpe=[0.89, 0.90, 0.91])
    resumed = Job(CONTEST, "tpe", 0, 1024)
    own[resumed].seconds = own[resumed].peak_bytes = None  # in two processes
    lines = [line_of(job, run) for job, run in own.items()]
    lines += [{"data": "digits", "ranking": 12, "seed": 0, "budget_bytes": 1024, "kendall_tau": None, "p": None}]
    text = table([*lines, *volumes(CONTEST, own)], "python -m benchmarks.front")
    assert "| gradient | 92.00 ± 2.00 | 82.00 ± 2.00 | 3.480 (3.400 to 3.560) |  | 10 | 100 |" in text
    assert "| tpe | 90.00 ± 1.00 | 80.00 ± 1.00 | 3.400 (3.360 to 3.440) | 0.080 ± 0.099 | 10 | 100 |" in text
    assert "Kendall's tau of 12 candidates at 1,024 B" in text and "none (all are as good)" in text
    assert "Seeds 0, 1, 2; 60 epochs a run." in text


def test_a_search_that_began_with_other_settings_is_not_gone_on_with(tmp_path):
    folder = tmp_path / "search"
    folder.mkdir()
    (folder / "config.yaml").write_text("")
    (tmp_path / "search.json").write_text(json.dumps({"overrides": ["seed=0"]}))
    with pytest.raises(RuntimeError, match=r"holds a search with other overrides. Delete it"):
        searched(folder, ["seed=1"])
