"""What ends a search without gradients, and how much of it is done."""

import math
import time
from collections.abc import Sequence

from optuna.trial import FrozenTrial

from search.settings.strategies import BlackBoxSettings
from search.strategies.black_box.studies import REFUSED, REPEATS, Study, epochs_of, measured_trials
from search.strategies.problem import Problem
from search.training.phase import label

IN_A_ROW = 200  # candidates that are all known: a search that has nothing more to say


class Limits:
    """The limits of a study's search at one point of a front. Seconds that it took before a kill count.

    Attributes:
        label: of the search, in the run's plan.
        epochs: that the candidates of this point may take.
    """

    def __init__(self, settings: BlackBoxSettings, problem: Problem, study: Study, each: float, number: int) -> None:
        """Args: each: epochs that a candidate takes. number: of the point, from 1."""
        self.label = label("search", number)
        self.epochs = _allowed(settings, problem, number)
        self._settings, self._whole, self._study, self._each = settings, problem.settings.limits, study, each
        ledger = problem.runtime.ledger
        self._seconds, before = ledger.allotted(self.label), study.seconds()
        self._began = time.perf_counter() - before
        ledger.restore(before)

    def ended(self) -> str:
        """What ended the search, in words; "": the search goes on."""
        s, trials = self._settings, self._study.finished()
        running = 1 + self._study.others()
        again = len(trials) >= IN_A_ROW and all(REPEATS in t.user_attrs for t in trials[-IN_A_ROW:])
        limits = {
            f"strategy.trials, {s.trials:,}": len(measured_trials(trials, pruned=True)) >= s.trials,
            f"strategy.attempts, {s.attempts:,}": self.attempts_left(trials) <= 0,
            f"{IN_A_ROW} candidates in a row that were known": again,
            f"limits.epochs, {self._whole.epochs}, which leaves {self.epochs:.1f} epochs for candidates of "
            f"{self._each:.2f} each": epochs_of(trials) + running * self._each > self.epochs,
            f"limits.seconds, {self._whole.seconds}": self.late(),
        }
        return next((limit for limit, reached in limits.items() if reached), "")

    def elapsed(self) -> float:
        """Seconds of the search."""
        return time.perf_counter() - self._began

    def late(self) -> bool:
        return self._seconds is not None and self.elapsed() >= self._seconds

    def attempts_left(self, trials: Sequence[FrozenTrial]) -> int:
        """How many more candidates may be drawn; those count that a sampler refused for their costs."""
        refused = sum(int(t.user_attrs.get(REFUSED, 0)) for t in trials)
        return self._settings.attempts - len(trials) - refused

    def expected(self, trials: Sequence[FrozenTrial]) -> float:
        """How many candidates will be measured in all, as far as these tell."""
        tried = len(measured_trials(trials, pruned=True))
        return max(tried, min(self._settings.trials, tried * self.epochs / max(epochs_of(trials), 1e-9)))


def _allowed(settings: BlackBoxSettings, problem: Problem, number: int) -> float:
    """Epochs for the candidates of a point: an equal share of what fine-tuning of all that is ahead leaves."""
    left = problem.epochs_left()
    if left is None:
        return math.inf
    ahead = len(problem.points) - number + 1
    reserved = ahead * settings.networks * problem.settings.train.finetune.epochs
    return (left - reserved) / ahead
