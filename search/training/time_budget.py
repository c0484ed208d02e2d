"""How far a phase is, when its seconds may run out before its epochs do."""

from dataclasses import dataclass

from search import distributed


@dataclass(frozen=True)
class TimeBudget:
    """The epochs of a phase, and the seconds that it may take; None: as many as it needs."""

    epochs: int
    seconds: float | None

    def place(self, epochs_done: float, seconds_spent: float) -> float:
        """Where the phase is, in epochs: those done, or farther where seconds run out sooner. All processes agree."""
        if self.seconds is None:
            return epochs_done
        by_seconds = seconds_spent / max(self.seconds, 1e-9) * self.epochs
        return min(float(self.epochs), distributed.agreed(lambda: max(epochs_done, by_seconds)))
