import pytest

from benchmarks.step_counts import counted
from benchmarks.step_time import ROUND, ours


@pytest.mark.parametrize(("mode", "reads"), [("qat_w8a8", 0.0), ("masks", 1.0), ("channel_bits", 1.0)])
def test_no_step_waits_for_the_device_but_where_costs_are_evaluated(mode: str, reads: float) -> None:
    """Once in a round, in the one step that evaluates them."""
    _, found = counted(ours("resnet8", mode).step, ROUND)
    assert found * ROUND <= reads
