"""Laws of every strategy: budgets and limits are held, integers are what was measured, a kill changes nothing.

And each shows how it is called.
"""

import re
import shlex
from dataclasses import replace

import pytest
import torch

from search.config import composed
from search.files.results import read_results
from search.integer.program import Program
from search.settings.front import Front
from search.settings.run import LimitSettings
from search.strategies import STRATEGIES
from tests.laws.strategies import EPOCHS, LIMITS, SWEEP, configured
from tests.search.kills import killed_run, same_outputs
from tests.search.small import run

every = pytest.mark.parametrize("name", [*STRATEGIES, SWEEP])


@every
def test_every_point_of_a_front_holds_its_budget_within_one_limit_of_epochs(data, tmp_path, name):
    config = replace(configured(data, name), budgets={}, front=Front(budgets={"flash_bytes": list(LIMITS)}))
    summary = run(tmp_path, replace(config, limits=LimitSettings(EPOCHS)))
    assert summary["epochs"]["total"] <= EPOCHS
    different = {point["architecture"] for point in summary["points"]}
    if len(different) == len(LIMITS):  # else there is nothing to train for one of them
        assert EPOCHS - len(LIMITS) < summary["epochs"]["total"]  # fine-tuning is in whole epochs
    for limit, point in zip(LIMITS, summary["points"], strict=True):
        program = Program.load(tmp_path / point["folder"] / "program.safetensors")
        assert program.flash_bytes() == point["costs"]["flash_bytes"]["found"] <= limit
        assert point["mismatches"]["numpy"] == 0 < point["mismatches"]["elements_compared"]
    results, faults = read_results(tmp_path / "results.jsonl")
    assert not faults
    assert all(result.costs["flash_bytes"] <= result.budgets["flash_bytes"] for result in results)


def example_commands(strategy: type) -> list[list[str]]:
    """The overrides of each command that a strategy's docstring shows."""
    text = re.sub(r"\\\n\s*", "", strategy.__doc__ or "")  # a command may go over several lines
    return [shlex.split(line)[3:] for line in re.findall(r"^ *(python -m search .*)$", text, re.MULTILINE)]


@pytest.mark.parametrize("strategy", dict.fromkeys(STRATEGIES.values()), ids=lambda strategy: strategy.__name__)
def test_a_strategy_shows_by_examples_how_it_is_called(strategy):
    assert "Example:" in strategy.__doc__ and example_commands(strategy)
    for overrides in example_commands(strategy):
        assert STRATEGIES[composed(overrides).strategy.name] is strategy, overrides


@every
@pytest.mark.parametrize("saves", [2, 4])  # behind warm-up, and in what follows
def test_after_a_kill_a_run_comes_to_the_same_bytes(data, tmp_path, name, saves):
    config = replace(configured(data, name), limits=LimitSettings(9))
    run(tmp_path / "whole", config)
    killed_run(tmp_path / "run", config, saves)
    torch.manual_seed(12345)  # a new process would not share the old one's random state
    run(tmp_path / "run", config)
    assert same_outputs(tmp_path / "whole", tmp_path / "run")
    (whole, _), (resumed, _) = (read_results(tmp_path / folder / "results.jsonl") for folder in ("whole", "run"))
    assert [(r.architecture, r.metrics) for r in whole] == [(r.architecture, r.metrics) for r in resumed]
