"""An epoch of training is read many steps at a time."""

from collections import Counter

import pytest

from search.data import Data
from search.strategies.problem import Problem
from search.training import reporting
from search.training.loop import PhaseRun
from search.training.losses import TOGETHER
from search.training.phase import Phase, Schedule
from spaces.space import FAKE, FLOAT
from tests.laws.host_reads.counted import reads_of, with_batches


@pytest.mark.parametrize("mode", [FLOAT, FAKE])
def test_an_epoch_of_training_reads_its_losses_many_at_a_time(
    mode: str, problem: Problem, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of steps that decide, which read costs as well, see tests/benchmarks/test_step_counts.py."""
    monkeypatch.setattr(reporting, "TICK_SECONDS", float("inf"))  # what is shown is read by the clock

    def epoch(steps: int) -> Counter[str]:
        phase = Phase("finetune", Schedule(1, 1e-3, mode))
        run = PhaseRun(problem.space, phase, with_batches(problem, data, steps).runtime)
        run.prepare_epoch()
        return reads_of(run.run_epoch)

    epoch(TOGETHER)
    assert epoch(2 * TOGETHER) - epoch(TOGETHER) == {"tolist": 1}
