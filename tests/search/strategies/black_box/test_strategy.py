"""Optuna's samplers: within the budget, the same for the same seed, and after a kill as if there had been none."""

import re
import time

import numpy as np
import optuna
import pytest

from search.budgets.pareto import on_front
from search.config import parse
from search.files.results import read_results
from search.report.runs import read_run
from search.settings.strategies import FRONTS, POPULATIONS, BlackBoxSettings
from search.strategies.black_box.proxy import Proxy
from search.strategies.black_box.samplers import SAMPLERS
from search.strategies.black_box.strategy import BlackBox
from search.strategies.black_box.studies import SCORE
from spaces.one_of import OneOf
from spaces.searchable import searchable
from tests.search.kills import killed
from tests.search.small import prepared, prepared_and_run, run
from tests.search.strategies.black_box.candidates import (
    BUDGET,
    configured,
    goes_on_as_it_would_have,
    outcome,
    parameters,
    trials_of,
)


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_a_search_ends_within_the_budget_and_says_what_it_tried(data, tmp_path, sampler):
    summary = run(tmp_path / "run", configured(data, sampler, trials=12))
    assert summary["budgets"]["flash_bytes"]["met"] and summary["mismatches"]["numpy"] == 0
    metrics = outcome(tmp_path / "run")["metrics"]
    trials = parameters(tmp_path / "run")
    assert metrics["search/candidates"] == 12
    assert metrics["search/infeasible"] > 0 or sampler == "cmaes"
    if sampler != "random":  # whose refused draws are counted, and no trials
        assert metrics["search/infeasible"] == len(trials) - 12
    assert metrics["search/epochs"] > 0


def test_every_candidate_that_is_measured_meets_the_budget(data, tmp_path, monkeypatch):
    seen = []
    original = Proxy.score_of
    monkeypatch.setattr(Proxy, "score_of", lambda self, a, *rest: (seen.append(a), original(self, a, *rest))[1])
    made, _ = prepared_and_run(tmp_path / "run", configured(data, trials=8))
    flash = made.models["flash_bytes"]
    assert len(seen) == 8
    for architecture in seen:
        assert flash(made.space.decide(architecture).describe()).item() <= BUDGET


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_after_a_kill_it_goes_on_as_it_would_have(data, tmp_path, sampler):
    population = {"population": 3} if sampler in POPULATIONS else {}
    config = configured(data, sampler, trials=13, **population)  # of which cmaes and tpe draw the first ten at random
    goes_on_as_it_would_have(config, tmp_path, killed(Proxy, "score_of", at=(1, 13)))
    assert parameters(tmp_path / "whole") == parameters(tmp_path / "killed")


@pytest.mark.parametrize("pruner", ["median", pytest.param("hyperband", marks=pytest.mark.slow)])
def test_after_a_kill_between_epochs_of_a_candidate_too(data, tmp_path, pruner):
    config = configured(data, trials=16, evaluation="tuned", candidate_epochs=4, pruner=pruner)
    run(tmp_path / "whole", config)
    trials = trials_of(tmp_path / "whole")
    late = [t.number for t in trials if t.state.name == "PRUNED" and len(t.intermediate_values) > 1]
    reports = sum(len(t.intermediate_values) for t in trials[: late[0] + 1])  # until that one is to be ended
    goes_on_as_it_would_have(config, tmp_path, killed(optuna.Trial, "report", at=(3, 3 + reports), behind=True))
    assert parameters(tmp_path / "whole") == parameters(tmp_path / "killed")


@pytest.mark.parametrize("evaluation", ["tuned", "scratch"])
def test_candidates_can_be_trained(data, tmp_path, evaluation):
    config = configured(data, trials=3, evaluation=evaluation, candidate_epochs=2)
    run(tmp_path / "run", config)
    assert outcome(tmp_path / "run")["metrics"]["search/epochs"] == 3 * 2


def test_a_candidate_that_is_only_measured_counts_its_passes_and_those_on_validation_data(data, tmp_path):
    config = configured(data, trials=3)
    config.train.batch_size = 8  # 20 steps an epoch; 40 images are for validation
    run(tmp_path / "run", config)
    each = (10 / 20 + 40 / 160) / 3
    assert outcome(tmp_path / "run")["metrics"]["search/epochs"] == pytest.approx(3 * each)


def test_it_can_be_measured_on_some_of_them(data, tmp_path):
    config = configured(data, trials=3, val_images=10)
    config.train.batch_size = 8
    run(tmp_path / "run", config)
    assert outcome(tmp_path / "run")["metrics"]["search/epochs"] == pytest.approx(3 * (10 / 20 + 10 / 160) / 3)
    accuracies = [trial.user_attrs[SCORE] for trial in trials_of(tmp_path / "run")]
    assert all(accuracy * 10 == pytest.approx(round(accuracy * 10)) for accuracy in accuracies)
    with pytest.raises(ValueError, match=r"strategy.val_images.*strategy.evaluation=inherited does"):
        BlackBoxSettings("random", evaluation="tuned", val_images=10)


@pytest.mark.parametrize("sampler", ["random", "tpe", pytest.param("nsga2", marks=pytest.mark.slow), "evolution"])
def test_a_candidate_that_was_measured_before_takes_nothing(data, tmp_path, sampler, monkeypatch):
    """Three layers of three precisions are 27 candidates; all are seen, and then the search ends."""
    monkeypatch.setattr("search.strategies.black_box.limits.IN_A_ROW", 40)
    config = configured(data, sampler, budget=60_000, trials=100)
    config.space.weight_bits, config.space.granularity, config.train.batch_size = [2, 4, 8], "tensor", 8
    run(tmp_path / "run", config)
    metrics, trials = outcome(tmp_path / "run")["metrics"], trials_of(tmp_path / "run")
    different = {tuple(sorted(trial.params.items())) for trial in trials}
    assert metrics["search/candidates"] == len(different) <= 27
    assert metrics["search/candidates"] + metrics["search/repeated"] == len(trials) < 4000
    assert metrics["search/epochs"] == pytest.approx(len(different) * (10 / 20 + 40 / 160) / 3)
    of_each = {tuple(sorted(t.params.items())): set() for t in trials}
    for trial in trials:
        of_each[tuple(sorted(trial.params.items()))].add(trial.values[0])
    assert all(len(values) == 1 for values in of_each.values())  # samplers are told what is known


def test_draws_that_are_over_budget_end_when_time_is_up(data, tmp_path):
    config = configured(data, budget=70, attempts=10**9)
    config.space.weight_bits, config.limits.seconds = [0, 8], 4.0
    began = time.perf_counter()
    with pytest.raises(ValueError, match=r"ended by limits.seconds, 4.0, and none of [\d,]+ candidates"):
        run(tmp_path / "run", config)
    assert time.perf_counter() - began < 30


def test_a_budget_of_epochs_holds_for_the_whole_run(data, tmp_path):
    config = configured(data, trials=1000, evaluation="tuned")
    whole = config.train.warmup.epochs + config.train.finetune.epochs + 5
    config.limits.epochs = whole
    summary = run(tmp_path / "run", config)
    assert outcome(tmp_path / "run")["metrics"]["search/candidates"] == 5
    assert summary["epochs"]["total"] == whole


@pytest.mark.parametrize("pruner", ["median", "hyperband"])
def test_a_pruner_ends_candidates_early_and_the_epochs_are_those_that_were_trained(data, tmp_path, pruner):
    config = configured(data, trials=14, evaluation="tuned", candidate_epochs=6, pruner=pruner)
    summary = run(tmp_path / "run", config)
    metrics = outcome(tmp_path / "run")["metrics"]
    assert metrics["search/cut_short"] > 0
    assert metrics["search/candidates"] + metrics["search/cut_short"] == 14
    assert metrics["search/candidates"] * 6 < metrics["search/epochs"] < 14 * 6
    assert summary["epochs"]["search"] == metrics["search/epochs"]


@pytest.mark.parametrize("sampler", FRONTS)
def test_of_several_objectives_a_front_is_fine_tuned(data, tmp_path, sampler):
    own = {"trials": 24, "population": 6} if sampler == "nsga2" else {"trials": 14}
    config = configured(data, sampler, objectives=["flash_bytes"], networks=3, **own)
    summary = run(tmp_path / "run", config)
    results, _ = read_results(tmp_path / "run" / "results.jsonl")
    assert 2 <= len(results) <= 3
    assert len({r.architecture.hash for r in results}) == len(results)
    searched = np.array([[-r.metrics["accuracy/val/searched"], r.costs["flash_bytes"]] for r in results])
    assert on_front(searched).all()
    assert summary["epochs"]["finetune"] == len(results) * config.train.finetune.epochs


def test_a_network_of_a_front_that_one_study_found_is_a_point(data, tmp_path):
    config = configured(data, "nsga2", trials=24, population=6, objectives=["flash_bytes", "macs"], networks=3)
    summary = run(tmp_path / "run", config)
    results, _ = read_results(tmp_path / "run" / "results.jsonl")
    assert len(results) == 3 and summary["front"]["cost"] == "flash_bytes"
    for result, point in zip(results, summary["points"], strict=True):
        flash, macs = result.costs["flash_bytes"], result.costs["macs"]
        assert point["folder"] == f"points/flash_bytes={flash:g},macs={macs:g}" == f"points/{result.point}"
        assert point["costs"]["flash_bytes"]["found"] == flash and point["mismatches"]["numpy"] == 0
        assert point["accuracy"]["integer"]["val"] == result.metrics["accuracy/val"]
        assert (tmp_path / "run" / point["folder"] / "program.safetensors").is_file()
    costs = [result.costs["flash_bytes"] for result in results]
    assert costs == sorted(costs, reverse=True)
    shown = read_run(tmp_path / "run")
    assert [point.folder for point in shown.points] == [tmp_path / "run" / p["folder"] for p in summary["points"]]


def test_a_child_of_evolution_differs_from_one_of_the_living_in_one_parameter(data, tmp_path):
    config = configured(data, "evolution", trials=14, population=5, tournament=2)
    run(tmp_path / "run", config)
    complete = [p for state, p in parameters(tmp_path / "run") if state == optuna.trial.TrialState.COMPLETE]
    for i in range(5, 14):
        distances = [sum(complete[i][name] != parent[name] for name in parent) for parent in complete[i - 5 : i]]
        assert 1 in distances


def test_random_search_draws_until_the_budget_is_met(data, tmp_path):
    config = configured(data, budget=120, trials=6)
    run(tmp_path / "run", config)
    assert all(state == optuna.trial.TrialState.COMPLETE for state, _ in parameters(tmp_path / "run"))
    assert outcome(tmp_path / "run")["metrics"]["search/infeasible"] > 6


def test_evolution_gets_to_a_budget_that_random_draws_miss(data, tmp_path):
    config = configured(data, "evolution", budget=120, trials=20, attempts=200, population=8)
    run(tmp_path / "run", config)
    metrics = outcome(tmp_path / "run")["metrics"]
    assert metrics["search/candidates"] == 20 and metrics["search/infeasible"] < 150


def test_fine_tuning_takes_what_the_search_leaves_of_a_limit(data, tmp_path):
    config = configured(data, trials=3)
    config.limits.epochs = 12
    config.train.warmup.epochs, config.train.finetune.epochs = 2, 3
    summary = run(tmp_path / "run", config)
    assert summary["epochs"]["finetune"] == int(10 - summary["epochs"]["search"])
    assert summary["epochs"]["total"] <= 12


def test_no_candidate_within_the_budgets_is_said(data, tmp_path):
    config = configured(data, budget=70, attempts=30)
    config.space.weight_bits = [0, 8]
    with pytest.raises(ValueError, match=r"ended by strategy.attempts, 30, and none of 30 candidates .* the budgets"):
        run(tmp_path / "run", config)


def test_candidates_that_no_limit_pays_for_are_refused_before_anything_is_trained(data, tmp_path):
    config = configured(data, evaluation="tuned", candidate_epochs=5)
    config.limits.epochs = config.train.warmup.epochs + config.train.finetune.epochs + 4
    with pytest.raises(ValueError, match=r"leaves 4 for the search of a point, and a candidate takes 5\. Raise it"):
        prepared(tmp_path / "run", config)


@pytest.mark.parametrize(
    ("options", "epochs", "ended"),
    [
        ({"trials": 2}, None, "2 of 2 candidates measured, ended by strategy.trials, 2"),
        ({"trials": 99}, 7, r"\d+ of \d+ candidates measured, ended by limits.epochs, 7, which leaves"),
        ({"trials": 99, "attempts": 3}, None, "3 of 3 candidates measured, ended by strategy.attempts, 3"),
    ],
)
def test_a_search_says_what_ended_it(data, tmp_path, capsys, options, epochs, ended):
    config = configured(data, budget=60_000, **options)
    config.train.warmup.epochs, config.train.finetune.epochs, config.limits.epochs = 2, 3, epochs
    run(tmp_path / "run", config)
    assert re.search(ended, capsys.readouterr().out)


def test_what_is_over_budget_is_as_good_as_most_for_samplers_that_weigh_values(data, tmp_path):
    run(tmp_path / "run", configured(data, "nsga2", budget=400, trials=6, population=4))
    over = [trial.values[0] for trial in trials_of(tmp_path / "run") if "violation" in trial.user_attrs]
    accuracies = [t.user_attrs["accuracy/val"] for t in trials_of(tmp_path / "run") if "violation" not in t.user_attrs]
    assert over and all(min(accuracies) <= value <= max(accuracies) for value in over)


def test_cmaes_takes_no_choices_among_blocks():
    import torch
    from torch import nn

    body = OneOf([nn.Conv2d(4, 4, 3, padding=1), nn.Identity()])
    space = searchable(nn.Sequential(nn.Conv2d(1, 4, 3), body), torch.zeros(2, 1, 8, 8))
    with pytest.raises(ValueError, match=r"\['1/branch'\] are among blocks, which have no order"):
        BlackBox(BlackBoxSettings("cmaes")).check(space, {}, {})


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("strategy.evaluation=guess", "strategy.evaluation"),
        ("strategy.trials=0", "strategy.trials"),
        ("strategy.storage=sqlite:///x.db", "strategy.study"),
        ("limits.epochs=-1", "limits.epochs"),
        ("strategy.pruner=median", "strategy.pruner"),
        ("strategy.tournament=3", r"strategy\.tournament is 3; allowed: 8, .*strategy=evolution does"),
        ("strategy.population=9", r"strategy\.population is 9; allowed: 32, .*strategy=evolution\|nsga2 does"),
        ("strategy.candidate_epochs=3", r"strategy\.candidate_epochs is 3; .*evaluation=tuned\|scratch does"),
        ("strategy.evaluation=tuned strategy.pruner=median", r"candidate_epochs is 1; allowed: 2 or more"),
        (
            "strategy=cmaes strategy.objectives=[flash_bytes]",
            r"objectives is \['flash_bytes'\]; .*gp\|nsga2\|random\|tpe",
        ),
        ("strategy=evolution strategy.objectives=[macs]", r"strategy\.objectives is \['macs'\]; allowed: \[\]"),
    ],
)
def test_bad_settings_are_refused(composed, overrides, message):
    with pytest.raises(ValueError, match=message):
        parse(composed("strategy=tpe", *overrides.split()))


@pytest.mark.parametrize(
    "overrides", ["strategy.tournament=8 strategy.candidate_epochs=1", "strategy=gp strategy.objectives=[macs]"]
)
def test_what_is_read_or_as_it_comes_is_taken(composed, overrides):
    assert parse(composed("strategy=tpe", *overrides.split())).strategy.trials == 64
