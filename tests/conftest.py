"""What tests share."""

import pytest
from hydra import compose, initialize_config_dir

from search.config import CONF, CONFIG, explained, register
from tests.search.small import run, settings, write_stripes


@pytest.fixture
def composed():
    """(*overrides) -> the configuration that `python -m search *overrides` would get."""
    register()

    def make(*overrides):
        with explained():
            return compose(CONFIG, overrides=list(overrides))

    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield make


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """A file of 160 training images, for runs that only have to end; no test changes it."""
    return write_stripes(tmp_path_factory.mktemp("data") / "stripes.npz", count=160)


@pytest.fixture(scope="session")
def more_data(tmp_path_factory):
    """A file of 480 training images, for runs that have to learn; no test changes it."""
    return write_stripes(tmp_path_factory.mktemp("data") / "stripes.npz", count=480)


@pytest.fixture(scope="session")
def done(more_data, tmp_path_factory):
    """Folder and summary of a whole run with the settings that tests share; no test changes them."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    return folder, run(folder, settings(more_data))
