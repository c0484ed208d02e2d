"""How fast decisions move, by how many steps a search has."""

import pytest

from search.training.pace import WANTED, pace_of, shortfall


@pytest.mark.parametrize(
    ("steps", "turn", "decisions"), [(5000, 4, 1250), (800, 4, 200), (799, 3, 266), (400, 2, 200), (399, 1, 399)]
)
def test_decisions_move_oftener_where_steps_are_few(steps, turn, decisions):
    pace = pace_of(steps, 0.06)
    assert (pace.turn, pace.decisions, pace.lr) == (turn, decisions, 0.06)


@pytest.mark.parametrize("steps", [1, 10, 50, 100, WANTED])
def test_short_searches_take_longer_steps_but_none_beyond_a_threshold(steps):
    pace = pace_of(steps, 0.06)
    assert (pace.turn, pace.decisions) == (1, steps)
    assert pace.lr == pytest.approx(min(0.5, 0.06 * WANTED / steps))


def test_a_rate_that_is_longer_than_the_way_to_the_threshold_stays():
    assert pace_of(10, 0.8).lr == 0.8


def test_a_search_that_is_too_short_is_told_what_to_set():
    assert shortfall("search", 10, 5) is None
    assert shortfall("search 2", 3, 16) == (
        "search 2: 3 epochs of 16 steps are 48 steps, and a search needs 50 to follow its targets; what it finds will "
        "be worse than it could be. Raise strategy.epochs to 4, or lower train.batch_size."
    )
