"""Strategies: from a Problem to Results. One list; the laws run over all of them."""

from search.strategies.black_box import BlackBox
from search.strategies.fixed import Fixed
from search.strategies.gradient import Gradient
from search.strategies.magnitude import Magnitude
from search.strategies.samplers import SAMPLERS
from search.strategies.sensitivity import SensitivityProgram
from search.strategies.strategy import Strategy
from search.strategy_settings import (
    BlackBoxSettings,
    FixedSettings,
    GradientSettings,
    MagnitudeSettings,
    SensitivitySettings,
)

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
