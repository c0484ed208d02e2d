"""Data sets that are made: the same for the same seed, of the kind they say, with nobody on two sides."""

import pytest
import torch

from search.data import DataError, load
from search.data.made import KINDS, MadeOptions

EXPECTED = {
    "pulses": ("numbers", (4, 256)),
    "machines": ("anomalies", (1, 5, 64)),
    "marked": ("masks", (1, 128)),
    "sounds": ("tags", (1, 20, 49)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_makes_the_same(kind):
    first, second, other = (load(MadeOptions(kind, seed=seed)) for seed in (1, 1, 2))
    assert (first.targets, first.input_shape) == EXPECTED[kind] and first.name == f"made {kind}"
    assert torch.equal(first.train.images, second.train.images)
    assert torch.equal(first.test.targets, second.test.targets)
    assert not torch.equal(first.train.images, other.train.images)


def test_heart_rates_are_those_of_people():
    rates = load(MadeOptions("pulses")).train.targets
    assert rates.min() > 40 and rates.max() < 230 and 60 < rates.mean() < 120


def test_anomalies_are_in_validation_and_test_alone():
    data = load(MadeOptions("machines"))
    assert (
        data.train.targets.sum() == 0 and data.val.targets.double().mean() == data.test.targets.double().mean() == 0.5
    )


def test_another_kind_is_refused():
    with pytest.raises(DataError, match=r"data\.kind is 'cats'; allowed: pulses, machines, marked, sounds"):
        load(MadeOptions("cats"))
