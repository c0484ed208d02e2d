"""Searches among candidates, small enough for tests, and their kills."""

import contextlib
import json
from dataclasses import replace

import optuna
import pytest

from search.run import Run
from search.settings.strategies import BlackBoxSettings
from tests.search.small import Small, settings

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
        Run(config, lambda _: Small(), folder / "whole")()
    with interrupted:
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                Run(config, lambda _: Small(), folder / "killed")()
    Run(config, lambda _: Small(), folder / "killed")()
    first, second = (outcome(folder / name) for name in ("whole", "killed"))
    assert first["architecture"] == second["architecture"]
    for name in ("accuracy/val", "search/infeasible", "search/epochs", "search/cut_short"):
        assert first["metrics"][name] == second["metrics"][name]


@contextlib.contextmanager
def killed(owner, name, at, behind=False):
    """Calls of this method number so and so end the process; `behind`: after they have done their work."""
    original, calls = getattr(owner, name), []

    def method(*arguments):
        calls.append(arguments)
        found = original(*arguments) if behind or len(calls) not in at else None
        if len(calls) in at:
            raise KeyboardInterrupt
        return found

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(owner, name, method)
        yield
