"""What a limit of epochs leaves is used, and never exceeded."""

import pytest

from search.run import WORK
from search.settings.strategies import GradientSettings
from search.strategies.gradient import Gradient
from search.strategies.strategy import progressive, training


@pytest.mark.parametrize("points", range(1, 13))
def test_searches_of_a_front_fit_whatever_is_left(points):
    for given in range(points, 80):
        first, following = progressive(points, 2, given + 2 * points, None, None, 12)
        assert first >= 1 and following >= 1
        assert 0 <= given - (first + (points - 1) * following) <= points  # one more for all is more than is left


@pytest.mark.parametrize(("points", "left"), [(2, 5), (8, 23)])
def test_less_than_an_epoch_a_point_is_refused(points, left):
    with pytest.raises(ValueError, match=r"limits.epochs: leaves \d+ for the search of \d points, which takes"):
        progressive(points, 2, left, None, None, 12)


def test_what_was_asked_for_and_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"leaves 6 for the search of 2 points, which takes 9 epochs\. Raise it"):
        progressive(2, 2, 10, 6, 3, 12)


@pytest.mark.parametrize("points", [2, 4, 5, 8])
def test_a_front_takes_at_most_half_a_run_more_for_each_of_its_points(points):
    """In epochs, of which those of a search take the longest, as run.WORK says; warm-up is as long as either."""
    for warmup, search, finetune in ((12, 12, 12), (20, 20, 20), (10, 12, 10)):
        plan = Gradient(GradientSettings(epochs=search)).plan(points, finetune, None)
        total = WORK["warmup"] * warmup + sum(WORK[name.split()[0]] * epochs for name, epochs in plan.items())
        alone = WORK["warmup"] * warmup + WORK["search"] * search + WORK["finetune"] * finetune
        assert total <= (1 + 0.5 * points) * alone


def test_fine_tuning_shares_what_is_left():
    assert training(3, 5, 20) == {"finetune": 6, "finetune 2": 6, "finetune 3": 6}
    assert training(2, 5, None) == {"finetune": 5, "finetune 2": 5}
    with pytest.raises(ValueError, match=r"leaves 2 for 3 networks to fine-tune, less than one each"):
        training(3, 5, 2)
