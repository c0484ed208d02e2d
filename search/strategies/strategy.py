"""The protocol of all strategies."""

from collections.abc import Iterator
from typing import Any, Protocol

from search.problem import Problem
from search.results import Result


class Strategy(Protocol):
    """Turns a Space into measured Architectures, each within the budgets."""

    def __init__(self, settings: Any) -> None: ...

    def phases(self) -> dict[str, int]:
        """Names and epochs of its own phases, for the time that is left."""

    def run(self, problem: Problem) -> Iterator[Result]:
        """Architectures, as they are found."""
