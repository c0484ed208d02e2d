"""Samplers and pruners of searches without gradients: those of Optuna (Akiba et al., arXiv 1907.10902) and ours."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from search.settings.strategies import BlackBoxSettings
from search.strategies.black_box.encoding import Encoding
from search.strategies.black_box.evolution import AgingEvolution
from search.strategies.black_box.random_draws import RandomDraws
from search.strategies.black_box.studies import VIOLATION
from spaces.space import Space

OPTUNA_SEEDS = 2**32  # how many seeds its samplers take


@dataclass(frozen=True)
class Sampling:
    """What samplers are made from.

    Attributes:
        fits: whether parameters meet the budgets.
        most: how many draws may be refused for their costs.
        late: whether time is up.
    """

    settings: BlackBoxSettings
    distributions: dict[str, BaseDistribution]
    fits: Callable[[Mapping[str, int]], bool]
    most: int
    late: Callable[[], bool]


def _violation(trial: FrozenTrial) -> tuple[float]:
    return (trial.user_attrs.get(VIOLATION, 0.0),)


SAMPLERS: dict[str, Callable[[Sampling, int], BaseSampler]] = {
    "random": lambda s, seed: RandomDraws(seed, s.distributions, s.fits, lambda refused: refused >= s.most or s.late()),
    "tpe": lambda _, seed: optuna.samplers.TPESampler(
        multivariate=True, seed=seed % OPTUNA_SEEDS, constraints_func=_violation
    ),
    "gp": lambda _, seed: optuna.samplers.GPSampler(seed=seed % OPTUNA_SEEDS, constraints_func=_violation),
    "nsga2": lambda s, seed: optuna.samplers.NSGAIISampler(
        population_size=s.settings.population, seed=seed % OPTUNA_SEEDS, constraints_func=_violation
    ),
    "cmaes": lambda _, seed: optuna.samplers.CmaEsSampler(seed=seed % OPTUNA_SEEDS),
    "evolution": lambda s, seed: AgingEvolution(seed, s.distributions, s.settings.population, s.settings.tournament),
}
WANT_VALUES = ("gp", "nsga2")  # of infeasible candidates too: they weigh constraints against values
PRUNERS: dict[str, Callable[[int], BasePruner]] = {
    "none": lambda _: optuna.pruners.NopPruner(),
    "median": lambda _: optuna.pruners.MedianPruner(),
    "hyperband": lambda epochs: optuna.pruners.HyperbandPruner(max_resource=epochs),
}


def distributions(space: Space, encoding: Encoding) -> dict[str, BaseDistribution]:
    """The places of the values of each parameter with more than one value. Only blocks have no order."""
    found: dict[str, BaseDistribution] = {}
    for name, options in encoding.parameters.items():
        if len(options) > 1 and name in space.choices and space.spec.choices[name].branches:
            found[name] = CategoricalDistribution(tuple(range(len(options))))
        elif len(options) > 1:
            found[name] = IntDistribution(0, len(options) - 1)
    return found
