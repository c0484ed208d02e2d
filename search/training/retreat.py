"""Back from epochs that left a network clearly worse, and on with a smaller rate (docs/methods.md, section 11)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import Any

from torch import Tensor

LOSS = 2.0  # times the loss of the last epoch that was not worse
POINTS = 5.0  # of the metric as it is written for people
START = 4  # margins below the network that a phase begins with: a rate that climbs lets it fall at first
SLOWER = 4.0  # the rate is divided by it
MOST = 3  # times that a phase goes back


@dataclass
class Retreat:
    """Where a phase goes back to, and when.

    Two signs say that an epoch was worse. Its value on validation data is more than a margin below the best one, though
    its training loss is not lower than that of the last epoch that was not worse. Or its loss is more than twice that
    one's, and its value is below the best. The phase goes back after an epoch with both signs, and after two epochs in
    a row with one of them.

    Attributes:
        value: the best value in the mode of the space; None: nothing was measured, and the phase never goes back.
        numbers: of the network that has it.
        margins: how many margins below the value another one is clearly worse.
        loss: training loss of the last epoch that was not worse.
        worse: how many epochs in a row were worse.
        times: how often the phase went back.
    """

    value: float | None = None
    numbers: dict[str, Tensor] = field(default_factory=dict)
    margins: int = 1
    loss: float = inf
    worse: int = 0
    times: int = 0

    @property
    def rate(self) -> float:
        """The factor on the learning rate."""
        return SLOWER**-self.times

    @property
    def possible(self) -> bool:
        return self.value is not None and self.times < MOST

    def stand(self, value: float, numbers: dict[str, Tensor], margins: int = 1) -> None:
        """Epochs from here on are compared with this network.

        Args:
            margins: how many margins below it an epoch is clearly worse. With more than one, the first epoch that is
                not worse takes its place.
        """
        self.value, self.numbers, self.margins, self.worse = value, numbers, margins, 0

    def after(self, loss: float, value: float, margin: float, copied: Callable[[], dict[str, Tensor]]) -> bool:
        """Takes the figures of an epoch, and the numbers that it left if they are the best. Returns whether to go back.

        Args:
            margin: a difference of values that is no chance.
        """
        if self.value is None:
            return False
        learns = loss < self.loss < inf
        fell = value < self.value - self.margins * margin and not learns
        rose = loss > LOSS * self.loss and value < self.value
        if fell or rose:
            self.worse += 1
            return self.possible and (self.worse > 1 or (fell and rose))
        self.worse, self.loss = 0, loss
        if value >= self.value or self.margins > 1:
            self.value, self.numbers, self.margins = value, copied(), 1
        return False

    def go_back(self) -> dict[str, Tensor]:
        """The numbers to go on with. The rate is smaller from here on."""
        self.worse, self.times = 0, self.times + 1
        return self.numbers

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return dict(vars(self))
