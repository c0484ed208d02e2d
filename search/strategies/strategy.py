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

    def plan(self, points: int, finetune: int, left: float | None) -> dict[str, int]:
        """Labels of all phases after warm-up, in order, and their epochs.

        Args:
            finetune: epochs of fine-tuning an architecture.
            left: epochs that warm-up leaves, where there is a limit.

        Raises:
            UsageError: the limit is too low.
        """

    def check(self, space: Space, models: Mapping[str, CostModel], points: Sequence[Point]) -> None:
        """Before any training: raises UsageError for what this strategy cannot do in the space."""

    def run(self, problem: Problem) -> Iterator[Result]:
        """Architectures, as they are found, for one point after the other."""


def searching(points: int, finetune: int, left: float | None) -> float | None:
    """Epochs that a limit leaves for searching, fine-tuning of all points reserved.

    Raises:
        UsageError: none.
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
    """Epochs of a search for the first point and for each that follows, a third as many, where nobody asks for others.

    Raises:
        UsageError: more than the limit leaves.
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
    """Epochs of the first search, the most that leave enough for those that follow; 1 where nothing does."""
    for first in range(int(given), 1, -1):
        if first + (points - 1) * (_following(first) if following is None else following) <= given:
            return first
    return 1


def training(finetunes: int, finetune: int, left: float | None) -> dict[str, int]:
    """The plan of a strategy that trains nothing but what it found: under a limit as long as that allows.

    Raises:
        UsageError: not an epoch each.
    """
    if left is not None:
        finetune = int(left / finetunes)
        if finetune < 1:
            raise UsageError(
                f"limits.epochs: warm-up leaves {left:g} for {finetunes} networks to fine-tune, less than one each. "
                "Raise it, or lower train.warmup.epochs."
            )
    return {label("finetune", number): finetune for number in range(1, finetunes + 1)}
