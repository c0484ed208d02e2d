"""Aging evolution (Real et al., AAAI 2019, arXiv 1802.01548): the best of a few has a child, and the oldest die."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from search.strategies.studies import measured


class AgingEvolution(BaseSampler):
    """A child differs from its parent in one parameter. The first `population` are drawn at random.

    Children that are over a budget are not measured, so they are never in the population.
    """

    def __init__(self, seed: int, space: Mapping[str, BaseDistribution], population: int, tournament: int) -> None:
        self._random, self._space = np.random.default_rng(seed), dict(space)
        self._population, self._tournament = population, tournament

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._space

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        living = measured(study)[-self._population :]
        if len(living) < self._population:
            return {name: self._drawn(distribution) for name, distribution in search_space.items()}
        few = self._random.choice(len(living), min(self._tournament, len(living)), replace=False)
        parent = max((living[i] for i in few), key=lambda t: t.values[0])
        child = dict(parent.params)
        name = sorted(search_space)[self._random.integers(len(search_space))]
        while child[name] == parent.params[name]:
            child[name] = self._drawn(search_space[name])
        return child

    def sample_independent(self, study: optuna.Study, trial: FrozenTrial, name: str, distribution: Any) -> Any:
        return self._drawn(distribution)

    def _drawn(self, distribution: BaseDistribution) -> int:
        if isinstance(distribution, CategoricalDistribution):
            return int(distribution.choices[self._random.integers(len(distribution.choices))])
        assert isinstance(distribution, IntDistribution)
        return int(self._random.integers(distribution.low, distribution.high + 1))
