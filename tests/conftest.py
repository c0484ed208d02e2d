"""What tests share."""

import pytest
from hydra import compose, initialize_config_module

from search.config import register


@pytest.fixture
def composed():
    """(*overrides) -> the configuration that `python -m search *overrides` would get."""
    register()
    with initialize_config_module("conf", version_base="1.3"):
        yield lambda *overrides: compose("config", overrides=list(overrides))
