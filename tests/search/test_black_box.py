"""Optuna's samplers: within the budget, the same for the same seed, and after a kill as if there had been none."""

import json
from dataclasses import replace

import optuna
import pytest

from search.config import parse
from search.problem import Problem
from search.run import Run
from search.settings import BlackBoxSettings
from search.strategies.black_box import SAMPLERS, BlackBox
from spaces.one_of import OneOf
from spaces.searchable import searchable
from tests.search.small import Small, settings, write_stripes

BUDGET = 600  # of 1,487 B


@pytest.fixture
def data(tmp_path):
    return write_stripes(tmp_path / "d.npz", count=160)


def configured(data, sampler="random", budget=BUDGET, **options):
    return replace(settings(data, budgets={"flash_bytes": budget}), strategy=BlackBoxSettings(sampler, **options))


def outcome(folder):
    return json.loads((folder / "results.jsonl").read_text())


def parameters(folder, name="search"):
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(folder / "study.jsonl")))
    study = optuna.load_study(study_name=name, storage=storage)
    return [(t.state, t.params) for t in study.trials]


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_a_search_ends_within_the_budget_and_says_what_it_tried(data, tmp_path, sampler):
    summary = Run(configured(data, sampler, trials=12), lambda _: Small(), tmp_path / "run")()
    assert summary["budgets"]["flash_bytes"]["met"] and summary["mismatches"]["numpy"] == 0
    metrics = outcome(tmp_path / "run")["metrics"]
    trials = parameters(tmp_path / "run")
    assert metrics["search/candidates"] == 12
    assert metrics["search/infeasible"] == len(trials) - 12 and (len(trials) > 12 or sampler == "cmaes")
    assert metrics["search/epochs"] > 0


def test_every_candidate_that_is_measured_meets_the_budget(data, tmp_path, monkeypatch):
    seen = []
    original = Problem.proxy
    monkeypatch.setattr(Problem, "proxy", lambda self, a, *rest: (seen.append(a), original(self, a, *rest))[1])
    run = Run(configured(data, trials=8), lambda _: Small(), tmp_path / "run")
    run()
    flash = run.models["flash_bytes"]
    assert len(seen) == 8
    for architecture in seen:
        assert flash(run.space.decide(architecture).describe()).item() <= BUDGET


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_after_a_kill_it_goes_on_as_it_would_have(data, tmp_path, monkeypatch, sampler):
    config = configured(data, sampler, trials=14)
    Run(config, lambda _: Small(), tmp_path / "whole")()
    original, calls = Problem.proxy, []

    def killed(self, *arguments):
        calls.append(arguments)
        if len(calls) == 13:
            raise KeyboardInterrupt
        return original(self, *arguments)

    monkeypatch.setattr(Problem, "proxy", killed)
    with pytest.raises(KeyboardInterrupt):
        Run(config, lambda _: Small(), tmp_path / "killed")()
    Run(config, lambda _: Small(), tmp_path / "killed")()
    whole, resumed = parameters(tmp_path / "whole"), parameters(tmp_path / "killed")
    assert [t for t in resumed if t[0].is_finished() and t[0] != optuna.trial.TrialState.FAIL] == whole
    first, second = (outcome(tmp_path / name) for name in ("whole", "killed"))
    assert first["architecture"] == second["architecture"]
    assert first["metrics"]["accuracy/val"] == second["metrics"]["accuracy/val"]


@pytest.mark.parametrize("evaluation", ["tuned", "scratch"])
def test_candidates_can_be_trained(data, tmp_path, evaluation):
    config = configured(data, trials=3, evaluation=evaluation, candidate_epochs=2)
    Run(config, lambda _: Small(), tmp_path / "run")()
    epochs = config.train.warmup.epochs + config.train.finetune.epochs
    assert outcome(tmp_path / "run")["metrics"]["search/epochs"] == 3 * 2 + epochs - config.train.warmup.epochs


def test_a_budget_of_epochs_holds_for_the_whole_run(data, tmp_path):
    config = configured(data, trials=1000, evaluation="tuned")
    whole = config.train.warmup.epochs + config.train.finetune.epochs + 5
    config.strategy.epochs = whole
    run = Run(config, lambda _: Small(), tmp_path / "run")
    run()
    assert outcome(tmp_path / "run")["metrics"]["search/candidates"] == 5


def test_processes_share_a_study_by_its_url(data, tmp_path):
    url = f"sqlite:///{tmp_path / 'study.db'}"
    for i, trials in enumerate((4, 7)):
        config = configured(data, trials=trials, storage=url, study="shared")
        Run(config, lambda _: Small(), tmp_path / f"run{i}")()
        assert outcome(tmp_path / f"run{i}")["metrics"]["search/candidates"] == trials


def test_a_study_of_another_space_is_refused_by_its_decisions(data, tmp_path):
    url = f"sqlite:///{tmp_path / 'study.db'}"
    Run(configured(data, trials=2, storage=url, study="shared"), lambda _: Small(), tmp_path / "run")()
    other = configured(data, trials=2, storage=url, study="shared")
    with pytest.raises(ValueError, match=r"'shared' was made in another space: \['conv1/channels', 'conv2/channels'\]"):
        Run(other, lambda _: Small(channels=6), tmp_path / "other")()


def test_no_candidate_within_the_budgets_is_said(data, tmp_path):
    config = configured(data, budget=70, attempts=30)
    config.space.weight_bits = [0, 8]
    with pytest.raises(ValueError, match=r"none of 30 candidates met the budgets|trained"):
        Run(config, lambda _: Small(), tmp_path / "run")()


def test_cmaes_takes_no_choices_among_blocks():
    import torch
    from torch import nn

    body = OneOf([nn.Conv2d(4, 4, 3, padding=1), nn.Identity()])
    space = searchable(nn.Sequential(nn.Conv2d(1, 4, 3), body), torch.zeros(2, 1, 8, 8))
    with pytest.raises(ValueError, match=r"\['1/branch'\] are among blocks, which have no order"):
        BlackBox(BlackBoxSettings("cmaes")).check(space, {}, {})


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("strategy.evaluation=guess", "strategy.evaluation"),
        ("strategy.trials=0", "strategy.trials"),
        ("strategy.storage=sqlite:///x.db", "strategy.study"),
        ("strategy.epochs=-1", "strategy.epochs"),
    ],
)
def test_bad_settings_are_refused(composed, override, message):
    with pytest.raises(ValueError, match=message):
        parse(composed("strategy=tpe", override))
