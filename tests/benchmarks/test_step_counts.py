import pytest

from benchmarks.step_counts import compare, counted
from benchmarks.step_time import ROUND, ours
from search.training.phase import TURN
from spaces.passes.chosen import only_eager
from spaces.passes.library import library

COSTS_ARE_EVALUATED, DECISIONS_LEARN = 1, ROUND // TURN  # steps of a round


@pytest.mark.parametrize(
    ("mode", "reads"),
    [
        ("qat_w8a8", 0),
        ("masks", COSTS_ARE_EVALUATED),
        ("channel_bits", COSTS_ARE_EVALUATED),
        ("activation_bits", COSTS_ARE_EVALUATED + DECISIONS_LEARN),  # of the precisions that are picked
        ("supernet", 2 * COSTS_ARE_EVALUATED + ROUND),  # the likeliest branches, and in each step those that are drawn
    ],
)
def test_no_step_waits_for_the_device_but_for_what_python_decides_by(mode: str, reads: int) -> None:
    _, found = counted(ours("resnet8", mode).step, ROUND)
    assert found * ROUND <= reads


MOST = {"masks": 1.9, "qat_w8a8": 1.8, "channel_bits": 2.8, "activation_bits": 3.4, "supernet": 2.8}
MOST_OF_TORCH = {"masks": 2.4, "qat_w8a8": 3.3, "channel_bits": 4.3, "activation_bits": 5.1, "supernet": 4.4}


@pytest.mark.parametrize("mode", MOST)
def test_a_step_dispatches_few_operators_for_each_of_plain_training(mode: str) -> None:
    """The counts of today, a little above: what adds operators to every step has to say so here."""
    if library().passes is None:
        pytest.skip(f"no passes in C here: {library().why}")
    assert compare("resnet8", mode)["operators_ratio"] <= MOST[mode]


@pytest.mark.parametrize("mode", MOST_OF_TORCH)
def test_a_step_dispatches_few_operators_where_nothing_is_compiled(mode: str) -> None:
    with only_eager():
        assert compare("resnet8", mode)["operators_ratio"] <= MOST_OF_TORCH[mode]
