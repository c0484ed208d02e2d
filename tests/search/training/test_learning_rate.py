import pytest

from search.training.learning_rate import climbing, settling
from search.training.phase import Learning, Schedule

MOMENTS = (0.0, 0.05, 0.1, 0.55, 1.0)


def rates(rule: Schedule | Learning) -> list[float]:
    return [rule.rate(progress) for progress in MOMENTS]


def test_rate_settles_behind_its_start():
    assert settling(0.2, 0.4) == settling(0.4, 0.4) == 1
    assert settling(0.7, 0.4) == pytest.approx(0.5) and settling(1.0, 0.4) == 0
    assert settling(1.0, 1.0) == 1


def test_learning_rate_climbs_then_falls():
    assert rates(Schedule(4, 0.1)) == pytest.approx([0.1, 0.5, 1, 0.5, 0])


def test_steady_learning_rate_climbs_and_stays():
    assert rates(Schedule(4, 0.1, steady=True)) == pytest.approx([0.1, 0.5, 1, 1, 1])


def test_learning_rate_of_what_goes_on_does_not_climb():
    schedule = Schedule(4, 0.1, goes_on=True)
    assert rates(schedule) == [settling(progress, 0.0) for progress in MOMENTS]
    assert schedule.rate(0.0) == 1 > climbing(0.0)
    assert rates(Schedule(4, 0.1, steady=True, goes_on=True)) == [1] * len(MOMENTS)


def test_decisions_have_a_rate_of_their_own():
    assert rates(Learning()) == [1] * len(MOMENTS)
    assert rates(Learning(settled_from=0.1)) == pytest.approx([1, 1, 1, 0.5, 0])
