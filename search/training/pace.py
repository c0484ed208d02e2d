"""How fast decisions move: in steps of theirs, whatever an epoch is."""

from dataclasses import dataclass

from search.health.warnings import FEWEST_STEPS
from search.training.phase import TURN

WANTED = 200  # steps of the decisions, where a search has as many
CROSSING = 0.5  # how far a decision is from its threshold at the start


@dataclass(frozen=True)
class Pace:
    """Attributes:
    turn: steps of the weights to one of the decisions.
    decisions: number of steps of the decisions.
    lr: the learning rate of decisions.
    """

    turn: int
    decisions: int
    lr: float


def pace_of(steps: int, lr: float) -> Pace:
    """The pace of a search of so many steps.

    Decisions move in every `TURN`th step, and oftener where they would have fewer than `WANTED` steps. Where they have
    fewer still, each is longer, so that a decision can cross its threshold as often as in `WANTED` steps.

    Args:
        lr: for `WANTED` steps of the decisions or more.
    """
    turn = max(1, min(TURN, steps // WANTED))
    decisions = max(1, steps // turn)
    return Pace(turn, decisions, lr * max(1.0, min(WANTED / decisions, CROSSING / lr)))


def shortfall(phase: str, epochs: int, steps_per_epoch: int) -> str | None:
    """What to set where a search is too short; None where it is not."""
    steps = epochs * steps_per_epoch
    if steps >= FEWEST_STEPS:
        return None
    return (
        f"{phase}: {epochs} epochs of {steps_per_epoch} steps are {steps} steps, and a search needs "
        f"{FEWEST_STEPS} to follow its targets; what it finds will be worse than it could be. "
        f"Raise strategy.epochs to {-(-FEWEST_STEPS // steps_per_epoch)}, or lower train.batch_size."
    )
