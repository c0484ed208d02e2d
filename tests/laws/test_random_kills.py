"""A run that is killed at random moments, again and again, comes to the same bytes in the end."""

import multiprocessing
import random
import time
from dataclasses import replace
from pathlib import Path

import pytest

from search.settings.run import LimitSettings, Settings
from tests.laws.strategies import configured
from tests.search.kills import same_outputs
from tests.search.small import run

STRATEGIES = ("gradient", "sensitivity", "magnitude", "random", "nsga2")
KILLS, RUNS = 5, 4  # of each run, and runs of each strategy: 100 kills of five strategies
PROCESSES = multiprocessing.get_context("forkserver")  # that have imported everything when they begin
PROCESSES.set_forkserver_preload(["tests.search.small", "search.strategies.black_box.strategy"])


def _run(folder: Path, chosen: Settings) -> None:
    run(folder, chosen)


def seconds_of(folder: Path, chosen: Settings, limit: float | None = None) -> float:
    """How long a run in a process of its own lasted, which SIGKILL ends where it takes longer than a limit."""
    process, began = PROCESSES.Process(target=_run, args=(folder, chosen)), time.perf_counter()
    process.start()
    process.join(limit)
    process.kill()
    process.join()
    if limit is None:
        assert process.exitcode == 0
    return time.perf_counter() - began


@pytest.mark.slow
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_run_that_is_killed_again_and_again_comes_to_the_same_bytes(data, tmp_path, strategy):
    chosen = replace(configured(data, strategy), limits=LimitSettings(9))
    seconds_of(tmp_path / "first", chosen)  # the first process of the server starts it
    whole = seconds_of(tmp_path / "whole", chosen)
    draw, late = random.Random(strategy), 0
    for number in range(RUNS):
        folder = tmp_path / f"run {number}"
        for _ in range(KILLS):
            limit = draw.uniform(0, 0.6 * whole)
            late += seconds_of(folder, chosen, limit) < limit  # it was over before
        seconds_of(folder, chosen)
        assert same_outputs(tmp_path / "whole", folder), folder
    assert late < RUNS * KILLS / 4  # most kills met a run
