"""Aging evolution (Real et al., AAAI 2019, arXiv 1802.01548): the best of a few has a child, and the oldest die."""

from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from search.strategies.black_box.random_draws import Drawing
from search.strategies.black_box.studies import VIOLATION, ended


class AgingEvolution(Drawing):
    """A child differs from its parent in one parameter. The first `population` are drawn at random.

    Candidates over a budget are not measured, and still live. What meets the budgets beats what does not, and of two
    that do not the nearer one is better (Deb, "An efficient constraint handling method for genetic algorithms", 2000).
    So a population comes to budgets that only one random draw in a thousand meets.
    """

    def __init__(self, seed: int, space: dict[str, BaseDistribution], population: int, tournament: int) -> None:
        super().__init__(seed, space)
        self._population, self._tournament = population, tournament

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        living = ended(study)[-self._population :]
        if len(living) < self._population:
            return self.drawn()
        few = self.random.choice(len(living), min(self._tournament, len(living)), replace=False)
        parent = max((living[i] for i in few), key=_fitness)
        child = dict(parent.params)
        name = sorted(search_space)[self.random.integers(len(search_space))]
        while child[name] == parent.params[name]:
            child[name] = self.value(search_space[name])
        return child


def _fitness(trial: FrozenTrial) -> tuple[float, float]:
    return -trial.user_attrs.get(VIOLATION, 0.0), trial.values[0] if trial.values else 0.0
