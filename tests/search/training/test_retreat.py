"""When a phase goes back, to what, and how often."""

from math import inf

import pytest
import torch

from search.training.retreat import MOST, Retreat

MARGIN = 0.05


class Trained:
    """A phase whose network is the number of its epoch."""

    def __init__(self, value: float | None = None) -> None:
        self.retreat, self.epoch = Retreat(), 0
        if value is not None:
            self.retreat.stand(value, self.numbers(), margins=4)

    def numbers(self) -> dict:
        return {"epoch": torch.tensor(self.epoch)}

    def after(self, loss: float, value: float) -> bool:
        self.epoch += 1
        return self.retreat.after(loss, value, MARGIN, self.numbers)


def gone_back(start: float | None, *epochs: tuple[float, float]) -> list[bool]:
    phase = Trained(start)
    return [phase.after(loss, value) for loss, value in epochs]


@pytest.mark.parametrize(
    "start, epochs",
    [
        (0.3, [(2.0, 0.4), (1.0, 0.7), (0.5, 0.8)]),  # it rises
        (0.5, [(0.1, 0.9), (0.12, 0.8), (0.1, 0.9), (0.12, 0.8)]),  # it is back in the next epoch
        (0.5, [(0.1, 0.9), (0.3, 0.91), (0.7, 0.92)]),  # the loss rises, but validation does as well
        (0.6, [(0.37, 0.82), (0.21, 0.73), (0.16, 0.75)]),  # validation falls, but training lowers the loss
        (0.5, [(0.1, 0.9), (0.11, 0.86), (0.12, 0.86)]),  # within the margin
        (0.9, [(9.0, 0.75), (1.0, 0.8), (0.9, 0.8)]),  # it falls at first, as a rate that climbs lets it
        (None, [(0.1, 0.9), (9.0, 0.1), (9.0, 0.1)]),  # there is nothing to go back to
    ],
)
def test_it_stays(start, epochs):
    assert not any(gone_back(start, *epochs))


@pytest.mark.parametrize(
    "start, epochs",
    [
        (0.5, [(0.07, 0.87), (7.1, 0.10)]),  # both signs
        (0.5, [(0.1, 0.9), (0.12, 0.8), (0.12, 0.8)]),  # validation alone, twice
        (0.5, [(0.1, 0.9), (0.3, 0.89), (0.25, 0.88)]),  # the loss alone, twice: compared with the last that was good
        (0.5, [(0.1, 0.9), (0.12, 0.8), (0.3, 0.89)]),  # one and then the other
        (0.9, [(0.1, 0.2), (0.1, 0.2)]),  # far below where it began
        (0.9, [(0.1, 0.75), (0.12, 0.65), (0.12, 0.65)]),  # below the first epoch, which took the place of the start
    ],
)
def test_it_goes_back_after_the_last_of_these_epochs(start, epochs):
    assert gone_back(start, *epochs) == [False] * (len(epochs) - 1) + [True]


def test_it_goes_back_to_the_best_network_and_the_rate_falls():
    phase = Trained(0.5)
    for loss, value in ((0.2, 0.85), (0.1, 0.9), (0.09, 0.87), (5.0, 0.1)):
        went = phase.after(loss, value)
    assert went and phase.retreat.go_back()["epoch"] == 2 and phase.retreat.rate == 0.25
    assert not phase.after(0.1, 0.91)
    assert phase.after(5.0, 0.1) and phase.retreat.go_back()["epoch"] == 5 and phase.retreat.rate == 0.0625


def test_it_goes_back_a_few_times_at_most():
    phase, times = Trained(0.5), 0
    phase.after(0.1, 0.9)
    for _ in range(2 * MOST):
        if phase.after(5.0, 0.1):
            phase.retreat.go_back()
            times += 1
    assert times == MOST == phase.retreat.times and not phase.retreat.possible


def test_another_network_to_stand_on_replaces_the_one_before():
    phase = Trained(0.5)
    phase.after(0.1, 0.9)
    phase.retreat.stand(0.7, {"epoch": torch.tensor(-1)})
    assert not phase.after(0.12, 0.66)
    assert phase.after(0.3, 0.6) and phase.retreat.go_back()["epoch"] == -1


def test_it_is_the_same_when_it_is_read_again():
    phase = Trained(0.5)
    phase.after(0.1, 0.9)
    phase.after(0.3, 0.89)
    again = Retreat(**phase.retreat.state())
    assert again == phase.retreat and again.worse == 1 and Retreat(**Retreat().state()).loss == inf
