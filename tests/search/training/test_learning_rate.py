import pytest

from search.training.learning_rate import climbing, settling
from search.training.phase import Phase

MOMENTS = (0.0, 0.05, 0.1, 0.55, 1.0)


def rates(phase: Phase, decides: bool = False) -> list[float]:
    return [phase.rate(progress, decides) for progress in MOMENTS]


def test_rate_settles_behind_its_start():
    assert settling(0.2, 0.4) == settling(0.4, 0.4) == 1
    assert settling(0.7, 0.4) == pytest.approx(0.5) and settling(1.0, 0.4) == 0
    assert settling(1.0, 1.0) == 1


def test_learning_rate_climbs_then_falls():
    assert rates(Phase("finetune", 4, 0.1)) == pytest.approx([0.1, 0.5, 1, 0.5, 0])


def test_steady_learning_rate_climbs_and_stays():
    assert rates(Phase("search", 4, 0.1, steady=True)) == pytest.approx([0.1, 0.5, 1, 1, 1])


def test_learning_rate_of_what_goes_on_does_not_climb():
    phase = Phase("finetune", 4, 0.1, goes_on=True)
    assert rates(phase) == [settling(progress, 0.0) for progress in MOMENTS]
    assert phase.rate(0.0, decides=False) == 1 > climbing(0.0)
    assert rates(Phase("prune", 4, 0.1, steady=True, goes_on=True)) == [1] * len(MOMENTS)


def test_decisions_have_a_rate_of_their_own():
    assert rates(Phase("search", 4, 0.1), decides=True) == [1] * len(MOMENTS)
    assert rates(Phase("search", 4, 0.1, steady=True, settled_from=0.1), decides=True) == pytest.approx(
        [1, 1, 1, 0.5, 0]
    )
