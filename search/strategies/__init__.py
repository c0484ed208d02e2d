"""Strategies: from a Problem to Results. There is one list, and the laws run over all of it."""

from search.settings.strategies import (
    BlackBoxSettings,
    FixedSettings,
    GradientSettings,
    MagnitudeSettings,
    SensitivitySettings,
)
from search.strategies.black_box.samplers import SAMPLERS
from search.strategies.black_box.strategy import BlackBox
from search.strategies.fixed import Fixed
from search.strategies.gradient import Gradient
from search.strategies.pruning.magnitude import Magnitude
from search.strategies.sensitivity.strategy import SensitivityProgram
from search.strategies.strategy import Strategy

STRATEGIES: dict[str, type[Strategy]] = {
    "fixed": Fixed,
    "gradient": Gradient,
    "magnitude": Magnitude,
    "sensitivity": SensitivityProgram,
    **dict.fromkeys(SAMPLERS, BlackBox),
}
SETTINGS = {
    "fixed": FixedSettings,
    "gradient": GradientSettings,
    "magnitude": MagnitudeSettings,
    "sensitivity": SensitivitySettings,
    **dict.fromkeys(SAMPLERS, BlackBoxSettings),
}

__all__ = ["SETTINGS", "STRATEGIES", "Strategy"]
