"""Samplers that draw from a seed of their own, and random search."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial


class Drawing(BaseSampler):
    """Draws the values of all parameters at once, in `sample_relative` of a subclass."""

    def __init__(self, seed: int, space: Mapping[str, BaseDistribution]) -> None:
        self.random, self._space = np.random.default_rng(seed), dict(space)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._space

    def sample_independent(self, study: Study, trial: FrozenTrial, name: str, distribution: Any) -> Any:
        return self.value(distribution)

    def drawn(self) -> dict[str, int]:
        """Values of all parameters, each uniform over what the parameter offers."""
        return {name: self.value(distribution) for name, distribution in self._space.items()}

    def value(self, distribution: BaseDistribution) -> int:
        if isinstance(distribution, CategoricalDistribution):
            choice = distribution.choices[self.random.integers(len(distribution.choices))]
            assert isinstance(choice, int)  # a place, see samplers.distributions
            return choice
        assert isinstance(distribution, IntDistribution)
        return int(self.random.integers(distribution.low, distribution.high + 1))


class RandomDraws(Drawing):
    """Draws until a candidate meets the budgets. Nothing is learnt from the others, so the study need not hold them.

    Attributes:
        refused: how many candidates did not meet them.
    """

    def __init__(
        self,
        seed: int,
        space: Mapping[str, BaseDistribution],
        fits: Callable[[Mapping[str, int]], bool],
        enough: Callable[[int], bool],
    ) -> None:
        """Args: enough: whether to stop after so many candidates that do not meet the budgets."""
        super().__init__(seed, space)
        self._fits, self._enough, self.refused = fits, enough, 0

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if "fixed_params" in trial.system_attrs:
            return {}
        drawn = self.drawn()
        while not self._fits(drawn) and not self._enough(self.refused):
            self.refused += 1
            drawn = self.drawn()
        return drawn
