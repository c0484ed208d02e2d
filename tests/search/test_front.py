"""A run of several points: one warm-up, each within its budget, limits held, and after a kill to the same bytes."""

import io
import json
from dataclasses import replace
from itertools import count

import pytest
import torch

from search.budgets.pareto import front_volume
from search.files.results import read_results
from search.monitor.terminal import PlainMonitor
from search.outcome import whole_summary
from search.settings.front import Front
from search.settings.run import LimitSettings
from search.strategies import SETTINGS
from search.tasks.class_words import ClassWords
from search.training.loop import PhaseRun
from tests.search.kills import Killed
from tests.search.small import prepared, run, settings

LIMITS = [900, 500, 300]
FRONT = Front(budgets={"flash_bytes": [float(limit) for limit in LIMITS]})


def configured(data, strategy="gradient", **changes):
    chosen = settings(data, strategy=strategy, budgets={}, front=FRONT, **changes)
    chosen.space.weight_bits = [0, 2, 4, 8]
    if strategy == "fixed":
        chosen.strategy = SETTINGS["fixed"](weight_bits=[2, 8], widths=[0.125, 0.25, 0.5, 1.0])
    if hasattr(chosen.strategy, "trials"):
        chosen.strategy.trials = 6
    return chosen


@pytest.fixture(scope="module")
def done(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("front") / "run"
    return folder, run(folder, configured(data))


def test_every_point_is_a_folder_of_its_own_within_its_budget(done):
    folder, summary = done
    assert json.loads((folder / "summary.json").read_text())["points"] == summary["points"]
    assert [p["point"] for p in summary["points"]] == [f"flash_bytes={limit}" for limit in LIMITS]
    for limit, point in zip(LIMITS, summary["points"], strict=True):
        assert point["costs"]["flash_bytes"]["found"] <= limit and point["budgets"]["flash_bytes"]["met"]
        assert point["mismatches"]["numpy"] == 0
        assert (
            json.loads((folder / point["folder"] / "summary.json").read_text())["architecture"] == point["architecture"]
        )
        for name in ("program.safetensors", "model.safetensors", "architecture.json"):
            assert (folder / point["folder"] / name).is_file()


def test_results_and_summary_say_what_the_front_is(done):
    folder, summary = done
    results, faults = read_results(folder / "results.jsonl")
    assert [r.point for r in results] == [p["point"] for p in summary["points"]] and not faults
    costs = [p["costs"]["flash_bytes"]["found"] for p in summary["points"]]
    val, test = ([p["accuracy"]["integer"][split] for p in summary["points"]] for split in ("val", "test"))
    corner = summary["front"]["reference"]["cost"]
    assert summary["front"]["hypervolume"]["val"] == front_volume(costs, val, val, corner) > 0
    assert summary["front"]["hypervolume"]["test"] == front_volume(costs, val, test, corner) > 0
    assert summary["front"]["knee"] in {p["point"] for p in summary["points"]}


def test_validation_data_chooses_the_points_of_the_test_volume(data, tmp_path):
    """Of two networks the cheaper one is better on validation data, and the other one on test data alone."""
    made = prepared(tmp_path / "run", configured(data))
    seed = made.seed_costs["flash_bytes"]
    found = [
        {
            "point": name,
            "costs": {"flash_bytes": {"found": seed / 2**octaves}},
            "accuracy": {"integer": {"val": val, "test": test}},
        }
        for name, octaves, val, test in (("large", 1, 0.5, 0.9), ("small", 2, 0.75, 0.5))
    ]
    front = whole_summary(made, found)["front"]
    assert front["hypervolume"] == {"val": 2 * 0.75, "test": 2 * 0.5}
    assert front["knee"] == "small"


def test_the_closing_table_has_a_line_for_every_point(done):
    stream = io.StringIO()
    PlainMonitor(stream, ClassWords()).close(done[1])
    lines = stream.getvalue().splitlines()
    for point in done[1]["points"]:
        shown = next(line for line in lines if line.startswith(point["point"]))
        assert f"{point['costs']['flash_bytes']['found']:,} B" in shown and "met" in shown
    assert any("hypervolume" in line and done[1]["front"]["knee"] in line for line in lines)


def test_warm_up_is_shared_and_later_searches_are_shorter(done, data):
    _, summary = done
    config = configured(data)
    assert summary["epochs"]["warmup"] == config.train.warmup.epochs
    assert summary["epochs"]["search"] == 4 + 1 + 1
    assert summary["epochs"]["finetune"] == 3 * config.train.finetune.epochs


@pytest.mark.parametrize("killed_at", ["search 2", "finetune 2"])
def test_after_a_kill_the_front_is_the_same(done, data, tmp_path, monkeypatch, killed_at):
    original = PhaseRun.run_epoch

    def killed(self):
        if self.phase.label == killed_at:
            raise Killed
        return original(self)

    with monkeypatch.context() as patched:
        patched.setattr(PhaseRun, "run_epoch", killed)
        with pytest.raises(Killed):
            run(tmp_path / "run", configured(data))
    run(tmp_path / "run", configured(data))
    for point in done[1]["points"]:
        for name in ("program.safetensors", "architecture.json"):
            whole, resumed = ((f / point["folder"] / name).read_bytes() for f in (done[0], tmp_path / "run"))
            assert whole == resumed


@pytest.mark.parametrize("strategy", ["fixed", "sensitivity", "random"])
def test_other_strategies_have_fronts(data, tmp_path, strategy):
    summary = run(tmp_path / "run", configured(data, strategy))
    for limit, point in zip(LIMITS, summary["points"], strict=True):
        assert point["costs"]["flash_bytes"]["found"] <= limit


def test_a_front_of_lambdas_falls_in_cost(data, tmp_path):
    config = replace(configured(data), front=Front(lambdas={"flash_bytes": [0.01, 30.0]}))
    config.strategy.epochs, config.strategy.next_epochs, config.strategy.decision_lr = 6, 6, 0.1
    low, high = (p["costs"]["flash_bytes"]["found"] for p in run(tmp_path / "run", config)["points"])
    assert high < low


@pytest.mark.parametrize("strategy", ["gradient", "fixed", "sensitivity", "random"])
def test_a_limit_of_epochs_is_held_and_used(data, tmp_path, strategy):
    config = configured(data, strategy, limits=LimitSettings(epochs=20))
    if strategy == "sensitivity":
        config.strategy.estimate = "gradient"
    if strategy == "gradient":
        config.strategy.epochs = None
    epochs = run(tmp_path / "run", config)["epochs"]
    assert 20 - len(LIMITS) < epochs["total"] <= 20


def test_a_limit_that_is_too_low_is_refused(data, tmp_path):
    with pytest.raises(
        ValueError, match=r"limits.epochs: warm-up leaves 2, and 3 x 3 of fine-tuning none for a search"
    ):
        prepared(tmp_path / "run", configured(data, limits=LimitSettings(epochs=4)))
    with pytest.raises(ValueError, match=r"limits.epochs: leaves 5 for the search of 3 points, which takes 6 epochs"):
        prepared(tmp_path / "run", configured(data, limits=LimitSettings(epochs=16)))


def test_a_limit_of_seconds_ends_every_phase_early(data, tmp_path):
    config = replace(configured(data, limits=LimitSettings(seconds=3.0)), front=Front(), budgets={"flash_bytes": 500})
    config.train.warmup.epochs, config.strategy.epochs, config.train.finetune.epochs = 400, 400, 400
    torch.set_num_threads(1)
    summary = run(tmp_path / "run", config)
    phases = sum(summary["seconds"][phase] for phase in ("warmup", "search", "finetune"))
    assert phases < 6
    assert all(1 <= summary["epochs"][phase] < 400 for phase in ("warmup", "search", "finetune"))
    assert summary["budgets"]["flash_bytes"]["met"] and summary["mismatches"]["numpy"] == 0


@pytest.mark.parametrize("seconds", [0.5, 40.0, 150.0])  # by a clock that gains a second whenever it is read
def test_what_trained_in_little_time_is_kept_as_integers(data, tmp_path, monkeypatch, seconds):
    original, seen = PhaseRun.__init__, []

    def started(self, space, phase, runtime, kept=True):
        original(self, space, phase, runtime, kept)
        if phase.name == "finetune":
            ticking = count()
            monkeypatch.setattr("search.training.loop.time.perf_counter", lambda: float(next(ticking)))
            self.budget = replace(self.budget, seconds=seconds)
            seen.append((self, {name: value.clone() for name, value in space.state_dict().items()}))

    monkeypatch.setattr(PhaseRun, "__init__", started)
    config = replace(configured(data), front=Front(), budgets={}, strategy=SETTINGS["fixed"](weight_bits=8))
    config.train.finetune.epochs, config.train.finetune.lr = 60, 1e-6  # so that what it is worth does not change
    assert config.train.finetune.integer_epochs > 0
    run(tmp_path / "run", config)
    ((finetune, start),) = seen
    now = finetune.space.state_dict()
    assert any((now[name] != value).any() for name, value in start.items())
    assert finetune.state.epoch < 60


def test_a_table_that_the_limit_does_not_pay_for_is_refused(data, tmp_path):
    config = configured(data, "sensitivity", limits=LimitSettings(epochs=14))
    with pytest.raises(ValueError, match=r"limits.epochs: 14, of which the table takes 13\.5, and nothing is left"):
        run(tmp_path / "run", config)
