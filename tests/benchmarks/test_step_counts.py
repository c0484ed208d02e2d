import pytest

from benchmarks.step_counts import compare
from spaces.passes.chosen import only_eager
from spaces.passes.library import library

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
