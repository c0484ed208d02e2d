from collections.abc import Callable

import pytest

from benchmarks.step_counts import Reads, counted
from benchmarks.step_time import ROUND, ours
from search.tasks.classification import Classification
from search.training.evaluation import mean_loss
from spaces.quantizers import ActivationQuantizer


@pytest.mark.parametrize(("mode", "reads"), [("qat_w8a8", 0.0), ("masks", 1.0), ("channel_bits", 1.0)])
def test_no_step_waits_for_the_device_but_where_costs_are_evaluated(mode: str, reads: float) -> None:
    """Once in a round, in the one step that evaluates them."""
    _, found = counted(ours("resnet8", mode).step, ROUND)
    assert found * ROUND <= reads


@pytest.mark.parametrize("batches", [2, 5])
def test_nothing_that_runs_over_batches_waits_for_the_device_a_batch_at_a_time(batches: int) -> None:
    trainer = ours("resnet8", "channel_bits")
    space, task = trainer.network, Classification([str(number) for number in range(10)])
    many = [(trainer.images[:4], trainer.targets[:4])] * batches

    def reads(run: Callable[[], object]) -> int:
        with Reads() as found:
            run()
        return found.each.total()

    space(trainer.images)  # zero points are read once
    assert reads(lambda: mean_loss(space, many, task.comparison_loss)) == 1
    scores = task.scores()
    assert reads(lambda: [scores.add(space(images), targets, images) for images, targets in many]) == 0
    quantizer = ActivationQuantizer(8)
    assert reads(lambda: [quantizer.observe(images) for images, _ in many]) == 0
