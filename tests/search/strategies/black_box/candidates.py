"""Searches among candidates, small enough for tests, and their kills."""

import json
from dataclasses import replace

import optuna
import pytest

from search.settings.strategies import BlackBoxSettings
from tests.search.kills import Killed
from tests.search.small import run, settings

BUDGET = 600  # of 1,487 B


def configured(data, sampler="random", budget=BUDGET, **options):
    return replace(settings(data, budgets={"flash_bytes": budget}), strategy=BlackBoxSettings(sampler, **options))


def outcome(folder):
    return json.loads((folder / "results.jsonl").read_text().splitlines()[0])


def trials_of(folder, name="search"):
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(folder / "study.jsonl")))
    return optuna.load_study(study_name=name, storage=storage).trials


def parameters(folder):
    return [(t.state, t.params) for t in trials_of(folder)]


def goes_on_as_it_would_have(config, folder, interrupted):
    """A run in whole/, and one that is killed again and again, in `interrupted`: they end alike."""
    if not (folder / "whole").exists():
        run(folder / "whole", config)
    with interrupted:
        for _ in range(2):
            with pytest.raises(Killed):
                run(folder / "killed", config)
    run(folder / "killed", config)
    first, second = (outcome(folder / name) for name in ("whole", "killed"))
    assert first["architecture"] == second["architecture"]
    for name in ("accuracy/val", "search/infeasible", "search/epochs", "search/cut_short"):
        assert first["metrics"][name] == second["metrics"][name]
