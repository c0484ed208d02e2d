"""The protocol of all strategies."""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from cost_models.rules import CostModel
from search.problem import Problem
from search.results import Result
from spaces.space import Space


class Strategy(Protocol):
    """Turns a Space into measured Architectures, each within the budgets."""

    def __init__(self, settings: Any) -> None: ...

    def phases(self) -> dict[str, int]:
        """Names and epochs of its own phases, for the time that is left."""

    def check(self, space: Space, models: Mapping[str, CostModel], budgets: Mapping[str, float]) -> None:
        """Before any training: raises ValueError for what this strategy cannot do in the space."""

    def run(self, problem: Problem) -> Iterator[Result]:
        """Architectures, as they are found."""
