"""What is given to strategies, to training and to export."""

import pytest
import torch

from search.data import Data
from search.data.data import Split
from search.settings.run import SpaceSettings
from search.settings.strategies import MagnitudeSettings
from search.strategies.problem import Problem
from tests.laws.host_reads.counted import IMAGES
from tests.search.small import problem_of, settings, write_stripes


@pytest.fixture(scope="session")
def warmed_up(tmp_path_factory: pytest.TempPathFactory) -> Problem:
    """What a strategy is given, with channels, weights and precisions open."""
    folder = tmp_path_factory.mktemp("run")
    chosen = settings(write_stripes(folder / "stripes.npz", count=IMAGES), "magnitude")
    chosen.space = SpaceSettings(weight_bits=[0, 2, 8], pattern="weights")
    chosen.strategy = MagnitudeSettings(fraction=0.5)
    return problem_of(folder / "run", chosen)


@pytest.fixture
def problem(warmed_up: Problem) -> Problem:
    """It is the same for every test: what a test does to the space is undone behind it."""
    before = {name: value.clone() for name, value in warmed_up.space.state_dict().items()}
    yield warmed_up
    warmed_up.space.load_state_dict(before)


@pytest.fixture(scope="session")
def data() -> Data:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(IMAGES, 1, 8, 8, generator=generator)
    split = Split(images, torch.arange(IMAGES) % 4)
    return Data("noise", split, split, split, tuple("abcd"), (0.0,), (1.0,))
