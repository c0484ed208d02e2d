"""Samplers of candidates."""

import warnings

import optuna
import pytest
from optuna.distributions import IntDistribution

from search.settings.run import MOST_SEED
from search.settings.strategies import BlackBoxSettings
from search.strategies.black_box.samplers import SAMPLERS, Sampling


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_every_sampler_takes_every_seed_that_settings_allow(name):
    space = {"a": IntDistribution(0, 3), "b": IntDistribution(0, 3)}
    sampling = Sampling(BlackBoxSettings(name=name), space, fits=lambda _: True, most=10, late=lambda: False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of experimental features
        study = optuna.create_study(sampler=SAMPLERS[name](sampling, MOST_SEED * 1_000_003 + 7))
        study.tell(study.ask(space), 1.0)
        drawn = study.ask(space).params
    assert set(drawn) == {"a", "b"} and all(0 <= value <= 3 for value in drawn.values())
