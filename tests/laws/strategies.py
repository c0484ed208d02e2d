"""Settings of a small run for each strategy."""

from dataclasses import replace
from pathlib import Path

from search.settings.run import Settings, SpaceSettings
from search.settings.strategies import FixedSettings
from search.strategies import SETTINGS
from tests.search.small import settings

LIMITS = (900.0, 540.0)  # of 1,487 B
EPOCHS = 18
SWEEP = "a sweep of fixed"  # a strategy of its own in all but name


def configured(data: Path, name: str) -> Settings:
    space = SpaceSettings(weight_bits=[0, 2, 4, 8])
    config = replace(settings(data, budgets={"flash_bytes": LIMITS[-1]}), space=space)
    if name == SWEEP:
        return replace(config, strategy=FixedSettings(weight_bits=[2, 4], widths=[0.25, 0.5]))
    own = SETTINGS[name]() if name in ("fixed", "gradient", "magnitude", "sensitivity") else SETTINGS[name](name)
    if name == "fixed":
        own.weight_bits = 2
    if name == "sensitivity":
        own.estimate, own.batches = "gradient", 2
    return replace(config, strategy=own)
