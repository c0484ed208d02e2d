"""The grid of the robustness benchmark: which runs it makes, and what it makes of them, against counts by hand."""

import json
import math
import re
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, product
from pathlib import Path

import pytest

from benchmarks import robust
from benchmarks.lines import Lines
from benchmarks.robust import KEY, RATES, STRATEGIES, Contest, Grid, Job, contests, line_of
from benchmarks.robust_cells import CELLS, MODELS, QUICK, SEARCH_STEPS, Cell, Setting
from benchmarks.robust_data import SETS
from benchmarks.robust_sources import Sources
from benchmarks.robust_table import table
from benchmarks.robust_verdicts import CELL as CELL_KEY
from benchmarks.robust_verdicts import best_rate, counted, judged, verdicts
from search.config import composed
from search.strategies import STRATEGIES as ENGINE

ROOT = Path(__file__).parents[2]
DOCS, README = ROOT / "docs", (ROOT / "README.md").read_text()
SETTING = Setting("mlp", "digits", 64, "short")
CELL = Cell(SETTING, flash=16, ram=2)
COUNTS = {"train": 1294, "val": 100, "test": 400}


@pytest.fixture
def contest(tmp_path):
    costs = {"flash_bytes": 44998.0, "peak_ram_bytes": 256.0}
    return Contest(SETTING, tmp_path / "digits.npz", costs, COUNTS, classes=10)


class Done:
    """As much of a search as is read."""

    def __init__(self, val, test, used=2700):
        each = {"val": val, "test": test}
        costs = {"flash_bytes": {"found": used}, "peak_ram_bytes": {"found": 100}}
        accuracy = {"float": {"val": 0.9, "test": 0.8}, "decided": each, "integer": each}
        self.summary = {"costs": costs, "accuracy": accuracy, "epochs": {"total": 45}}
        self.results = [type("Result", (), {"metrics": {"accuracy/val/decided": 0.5}})]
        self.seconds, self.peak_bytes = 10.0, 10**8


def line(contest, strategy, seed, val, test, *, rate="1", used=2700):
    return line_of(Job(contest, CELL, strategy, seed, rate), Done(val, test, used))


def test_every_network_data_batch_schedule_and_fraction_occurs_several_times():
    for name, least in (("network", 3), ("data", 2), ("batch", 2), ("schedule", 3)):
        found = Counter(getattr(cell.setting, name) for cell in CELLS)
        assert min(found.values()) >= least, found
    assert {cell.setting.data for cell in CELLS} == SETS.keys()
    assert {(cell.setting.network, cell.setting.data) for cell in CELLS} == MODELS.keys()
    assert min(Counter(cell.flash for cell in CELLS).values()) >= 3 and {cell.flash for cell in CELLS} == {
        2,
        4,
        8,
        16,
        32,
    }
    assert {cell.setting.batch for cell in CELLS} >= {16, 256} and {cell.setting.schedule for cell in CELLS} == {
        *SEARCH_STEPS
    }
    assert len({cell.name for cell in CELLS}) == len(CELLS) and sum(cell.ram is not None for cell in CELLS) >= 3


def test_all_epochs_come_from_the_steps_of_the_search():
    epochs = SETTING.epochs(1294)  # 20 steps in an epoch
    assert (epochs.steps, epochs.search, epochs.warmup, epochs.finetune, epochs.total) == (20, 10, 15, 20, 45)
    few = Setting("mlp", "digits", 16, "short").epochs(6000)  # 375 steps in an epoch
    assert (few.search, few.warmup, few.finetune) == (1, 2, 4)


@pytest.mark.parametrize("strategy, rate", [*zip(STRATEGIES, cycle(RATES), strict=False)])
def test_every_run_is_a_search_of_as_many_epochs(contest, strategy, rate):
    settings = composed([*Job(contest, CELL, strategy, 1, rate).settings(), "data.file=none.npz"])
    assert dict(settings.budgets) == {"flash_bytes": 44998 // 16, "peak_ram_bytes": 128}
    assert settings.seed == 1 and settings.train.batch_size == 64
    assert settings.train.finetune.lr == pytest.approx(0.03 * RATES[rate])
    left = settings.limits.epochs - settings.train.warmup.epochs
    plan = ENGINE[settings.strategy.name](settings.strategy).plan(1, settings.train.finetune.epochs, left)
    assert sum(plan.values()) <= left == 30


def test_the_gradient_has_no_settings_but_those_of_the_cell(contest):
    own = {*Job(contest, CELL, "gradient", 0).settings()} - {*Job(contest, CELL, "random", 0).settings()}
    assert own == {"strategy=gradient"}


@pytest.mark.parametrize("pair", [pair for pair in MODELS if pair[1] not in ("cifar10", "spoken_digits", "motion")])
def test_a_network_takes_its_data(pair, tmp_path):
    network, data = pair
    ((contest, _),) = contests([Cell(Setting(network, data, 16, "short"), 2)], tmp_path, Sources())
    assert 25_000 < contest.costs["flash_bytes"] < 250_000 and contest.classes == 10


def test_cells_without_their_data_are_left_out_with_a_note(tmp_path, capsys):
    cells = [Cell(Setting("resnet8", "cifar10", 64, "short"), 8), *QUICK[:1]]
    ((contest, own),) = contests(cells, tmp_path, Sources())
    assert contest.setting == QUICK[0].setting and own == [QUICK[0]]
    assert "skipped: resnet8_cifar10_64_short: data set 'cifar10'" in capsys.readouterr().err


def test_rates_are_chosen_by_validation_data_of_the_first_seed(contest):
    found = [
        line(contest, "random", 0, 0.8, 0.1, rate="1"),
        line(contest, "random", 0, 0.7, 0.9, rate="3"),
        line(contest, "random", 0, 0.8, 0.2, rate="1/3"),
        line(contest, "random", 1, 0.9, 0.9, rate="3"),
    ]
    assert best_rate(found) == "1" and best_rate(found[1:3]) == "1/3" and best_rate([]) is None
    assert [(one["seed"], one["rate"]) for one in counted(found)["random"]] == [(0, "1")]


@pytest.fixture
def found(contest):
    """Gradient 80 and 84, fixed 82 (4 bits) and 80 (2 bits, since validation data says so), random 60 and 90."""
    lines = [
        line(contest, "gradient", 0, 0.9, 0.80, used=2812),
        line(contest, "gradient", 1, 0.9, 0.84, used=2500),
        line(contest, "fixed 4", 0, 0.9, 0.82),
        line(contest, "fixed 2", 0, 0.8, 0.90),
        line(contest, "fixed 4", 1, 0.7, 0.99),
        line(contest, "fixed 2", 1, 0.8, 0.80),
        line(contest, "random", 0, 0.9, 0.60),
        line(contest, "random", 1, 0.9, 0.90),
    ]
    judged(lines)
    return lines


def test_far_below_the_best_fixed_on_average_is_a_collapse(found):
    assert [one["strategy"] for one in counted(found)["fixed"]] == ["fixed 4", "fixed 2"]  # 81 on average
    fallen = {one["strategy"] for one in found if one["collapsed"]}
    assert fallen == {"random"}  # 75 on average, and 76 is the bar


def test_guessing_is_a_collapse_even_where_the_best_fixed_guesses_too(contest):
    lines = [line(contest, "gradient", 0, 0.14, 0.14), line(contest, "fixed 2", 0, 0.16, 0.16)]
    judged(lines)
    assert [one["collapsed"] for one in lines] == [True, False]


def test_a_loss_that_is_not_finite_is_a_collapse(contest):
    lines = [line_of(Job(contest, CELL, "gradient", 0), None), line(contest, "fixed 2", 0, 0.9, 0.9)]
    judged(lines)
    assert [one["collapsed"] for one in lines] == [True, False]
    cell, *_ = verdicts(lines)
    assert cell["ahead"] == -0.9 and cell["strategies"]["gradient"]["used"] == []


def test_the_gradient_is_compared_with_the_best_of_the_others(found):
    cell, *sums, whole = verdicts(found)
    assert cell["best_rival"] == "fixed" and cell["ahead"] == pytest.approx(0.01)
    seeds = (0.0008 + 0.0002) / 2  # variances of (80, 84) and (82, 80), each of a mean of two
    images = (0.82 * 0.18 + 0.81 * 0.19) / 400
    assert cell["noise"] == pytest.approx(2 * math.sqrt(seeds + images), abs=1e-4)
    assert cell["strategies"]["gradient"]["used"] == [1.0, pytest.approx(2500 / 2812, abs=1e-4)]
    gradient = next(one for one in sums if one["strategy"] == "gradient")
    assert (gradient["collapses"], gradient["used_95"], gradient["runs"]) == (0, 1, 2)
    assert next(one for one in sums if one["strategy"] == "random")["collapses"] == 1
    assert (whole["ahead"], whole["behind"], whole["tight_cells"]) == (0, 0, 1)
    assert whole["ahead_of_fixed_tight"] == pytest.approx(0.01)


def test_the_table_says_what_the_lines_say(found):
    text = table([*found, *verdicts(found)], "python -m benchmarks.robust", 3)
    assert "## Measured cells: 1\n\n2 more are still to be measured. Seeds" in text
    assert "| gradient | 0 of 1 | 82.0 | 94.5 | 88.9 | 1 of 2 |" in text
    assert "| mlp | digits | 64 | 200 | 1/16, 2,812 B, RAM 128 B | 80.0 | 82.0 |  | 81.0 |  | **75.0** | +1.0 ±" in text
    assert "it is ahead of the best fixed by +1.0 points on average" in text


def test_other_seeds_run_with_the_rate_that_was_chosen(contest, tmp_path, monkeypatch):
    ran = []

    def run(job, root):
        ran.append((job.strategy, job.seed, job.rate))
        if job.strategy == "magnitude" and job.rate == "3":
            raise RuntimeError("search: training: the loss is nan. Look at the data.")
        if job.strategy == "random" and job.rate == "3":
            raise RuntimeError("search: killed")
        return Done(0.9 if job.rate == "1/3" else 0.8, 0.8)

    monkeypatch.setattr(Job, "run", run)
    grid = Grid(tmp_path, seeds=2)
    _measure(grid, contest)
    runs = [one for one in ran if one[0] != "float"]
    for strategy in STRATEGIES:
        first, chosen = (["1"], "1") if strategy == "gradient" else (list(RATES), "1/3")
        assert [one for one in runs if one[0] == strategy] == [
            *((strategy, 0, rate) for rate in first),
            (strategy, 1, chosen),
        ]
    assert [path.name for path in grid.failed] == ["flash16_ram2_random_lr3_0"]
    lines = [json.loads(text) for text in (tmp_path / "lines.jsonl").read_text().splitlines()]
    assert len(lines) == len(runs) - 1 and all(one["collapsed"] in (True, False) for one in lines)
    assert [(one["strategy"], one["rate"]) for one in lines if one["integer"] is None] == [("magnitude", "3")]
    ran.clear()
    _measure(Grid(tmp_path, seeds=2), contest)
    assert {one for one in ran if one[0] != "float"} == {("random", 0, "3")}


def _measure(grid, contest):
    for strategy in STRATEGIES:
        grid.measure(contest, CELL, strategy)
    grid.judge(contest, [CELL])


def test_strategies_side_by_side_never_train_one_float_network_at_once(contest, tmp_path, monkeypatch):
    floats = []

    def run(job, root):
        if job.strategy == "float":
            floats.append("begins")
            time.sleep(0.05)
            floats.append("ends")
        return Done(0.9, 0.8)

    monkeypatch.setattr(Job, "run", run)
    grid = Grid(tmp_path, seeds=1)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda strategy: grid.measure(contest, CELL, strategy), STRATEGIES))
    assert floats == ["begins", "ends"] * (len(floats) // 2) and floats


def test_no_run_begins_once_it_is_to_stop(contest, tmp_path, monkeypatch):
    monkeypatch.setattr(Job, "run", lambda job, root: pytest.fail(f"{job} began"))
    grid = Grid(tmp_path, seeds=1)
    grid.stop.set()
    grid.measure(contest, CELL, "fixed 8")
    assert not (tmp_path / "lines.jsonl").exists()


def test_ram_can_be_what_is_filled(contest):
    own = line(contest, "gradient", 0, 0.9, 0.9, used=100) | {"used_ram": 64}
    judged([own])
    cell, *_ = verdicts([own])
    assert cell["strategies"]["gradient"]["used"] == [0.5]


def test_lines_are_told_apart_by_what_a_run_depends_on(contest, tmp_path):
    lines = Lines(tmp_path / "lines.jsonl", KEY)
    jobs = [Job(contest, CELL, strategy, seed, rate) for strategy, seed, rate in product(STRATEGIES, (0, 1), RATES)]
    assert len({job.key for job in jobs}) == len({job.folder(tmp_path) for job in jobs}) == len(jobs)
    lines.add(jobs[0].key, line_of(jobs[0], Done(0.9, 0.8)))
    assert Lines(lines.path, KEY).has(jobs[0].key, " ".join(jobs[0].settings()))
    assert robust.DEFAULT_RATE in RATES


def test_the_published_table_is_made_of_the_published_lines():
    lines = [json.loads(text) for text in (DOCS / "robust.jsonl").read_text().splitlines()]
    assert (DOCS / "robust.md").read_text() == table(lines, "python -m benchmarks.robust", len(CELLS))
    runs = [one for one in lines if "seed" in one]
    assert [json.loads(json.dumps(one)) for one in verdicts(runs)] == [one for one in lines if "seed" not in one]
    by_cell = Counter(tuple(one[name] for name in CELL_KEY) for one in runs)
    names = [(c.setting.network, c.setting.data, c.setting.batch, c.setting.schedule, c.budgets) for c in CELLS]
    rivals = len(STRATEGIES) - 1
    assert set(by_cell) <= set(names) and set(by_cell.values()) == {2 + rivals * (len(RATES) + 1)}  # with two seeds


def test_the_readme_quotes_the_published_table():
    (sums,) = re.findall(r"python -m benchmarks\.robust.*?\n\n(\| strategy.*?)\n\n", README, re.DOTALL)
    assert len(sums.splitlines()) == 7 and sums in (DOCS / "robust.md").read_text()
