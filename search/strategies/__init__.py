"""Strategies: from a Problem to Results. One list; the laws run over all of them."""

from search.settings import FixedSettings, GradientSettings
from search.strategies.fixed import Fixed
from search.strategies.gradient import Gradient
from search.strategies.strategy import Strategy

STRATEGIES: dict[str, type[Strategy]] = {"fixed": Fixed, "gradient": Gradient}
SETTINGS = {"fixed": FixedSettings, "gradient": GradientSettings}

__all__ = ["SETTINGS", "STRATEGIES", "Strategy"]
