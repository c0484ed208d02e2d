"""The protocol of all strategies."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from cost_models.rules import CostModel
from search.errors import UsageError
from search.files.results import Result
from search.settings.front import Point
from search.strategies.problem import Problem
from search.training.phase import label
from spaces.space import Space


class Strategy(Protocol):
    """Turns a Space into measured Architectures, each within the budgets of its point."""

    def __init__(self, settings: Any) -> None: ...

    def rounds(self, space: Space, models: Mapping[str, CostModel], points: Sequence[Point]) -> int:
        """How many rounds the run has after warm-up: one for each point of the front, unless a strategy has its own."""

    def plan(self, rounds: int, finetune: int, left: float | None) -> dict[str, int]:
        """Labels of all phases after warm-up, in order, and their epochs.

        Args:
            rounds: what `rounds` says.
            finetune: epochs of fine-tuning an architecture.
            left: epochs that warm-up leaves; None: there is no limit.

        Raises:
            UsageError: the limit is too low.
        """

    def check(self, space: Space, models: Mapping[str, CostModel], points: Sequence[Point]) -> None:
        """Refuses, before any training, what this strategy cannot do in the space.

        Raises:
            UsageError: it cannot be done, and the message says why.
        """

    def advice(self, plan: Mapping[str, int], steps: int) -> list[str]:
        """What a user should know before the run starts.

        Args:
            plan: label of a phase -> its epochs.
            steps: in an epoch.
        """

    def run(self, problem: Problem) -> Iterator[Result]:
        """The results of one point after the other, as they are found."""


def searching(points: int, finetune: int, left: float | None) -> float | None:
    """Epochs that a limit leaves for searching, after those for fine-tuning all points are set aside.

    Raises:
        UsageError: no epoch is left.
    """
    if left is None:
        return None
    if left - points * finetune < 1:
        raise UsageError(
            f"limits.epochs: warm-up leaves {left:g}, and {points} x {finetune} of fine-tuning none for a search. "
            "Raise it, or lower train.warmup.epochs or train.finetune.epochs."
        )
    return left - points * finetune


def progressive(
    points: int, finetune: int, left: float | None, first: int | None, following: int | None, default: int
) -> tuple[int, int]:
    """Epochs of a search for the first point, and for each point that follows: a third as many, if not set.

    Raises:
        UsageError: they are more than the limit leaves.
    """
    given = searching(points, finetune, left)
    if first is None:
        first = default if given is None else _longest(points, given, following)
    following = _following(first) if following is None else following
    total = first + (points - 1) * following
    if given is not None and total > given:
        raise UsageError(
            f"limits.epochs: leaves {given:g} for the search of {points} points, which takes {total} epochs. "
            "Raise it, or lower strategy.epochs, train.warmup.epochs or train.finetune.epochs, or take fewer points."
        )
    return first, following


def _following(first: int) -> int:
    return max(1, round(first / 3))


def _longest(points: int, given: float, following: int | None) -> int:
    """The most epochs of the first search that leave enough for those that follow; 1 where none leave enough."""
    for first in range(int(given), 1, -1):
        if first + (points - 1) * (_following(first) if following is None else following) <= given:
            return first
    return 1


def training(finetunes: int, finetune: int, left: float | None) -> dict[str, int]:
    """The plan of a strategy that only fine-tunes. Under a limit each network gets an equal share of the epochs.

    Raises:
        UsageError: the limit leaves less than one epoch for each.
    """
    if left is not None:
        finetune = int(left / finetunes)
        if finetune < 1:
            raise UsageError(
                f"limits.epochs: warm-up leaves {left:g} for {finetunes} networks to fine-tune, less than one each. "
                "Raise it, or lower train.warmup.epochs."
            )
    return {label("finetune", number): finetune for number in range(1, finetunes + 1)}
