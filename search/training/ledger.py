"""What a run has spent of its seconds and epochs, and what is left of them."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Ledger:
    """Seconds and epochs of one run.

    Attributes:
        plan: label of a phase -> its share of the run's work, in the order in which phases run.
        limit: seconds that the whole run may take; None: there is no limit.
        seconds, epochs: name of a phase -> what all phases of this name took, candidates included. Parts of the run
            that train nothing have seconds alone.
        epochs_begun: epochs planned for the phases that are over; the next phase counts its epochs from there, and so
            sees other orders of the training data than those before it.
        restored: seconds among these that other processes took, of a run that goes on or whose float network was taken
            over.
        began: when this process began, by time.perf_counter.
    """

    plan: Mapping[str, float] = field(default_factory=dict)
    limit: float | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    epochs: dict[str, float] = field(default_factory=dict)
    epochs_begun: int = 0
    restored: float = 0.0
    began: float = field(default_factory=time.perf_counter)

    def elapsed(self) -> float:
        """All seconds of the run so far."""
        return self.restored + time.perf_counter() - self.began

    def left(self) -> float | None:
        """Seconds that the limit leaves; None: there is no limit."""
        return None if self.limit is None else self.limit - self.elapsed()

    def elsewhere(self) -> float:
        """Seconds of this process that no phase and no part accounts for."""
        return time.perf_counter() - self.began - self._here()

    def _here(self) -> float:
        """Seconds of this process that phases and parts account for."""
        return sum(self.seconds.values()) - self.restored

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Counts the seconds inside for a part that trains nothing. What phases and parts in it count is theirs."""
        began, known = time.perf_counter(), self._here()
        try:
            yield
        finally:
            own = time.perf_counter() - began - (self._here() - known)
            self.seconds[name] = self.seconds.get(name, 0.0) + own

    def restore(self, seconds: float) -> None:
        """Counts seconds that another process took."""
        self.restored += seconds

    def spend(self, phase: str, epochs: float, seconds: float) -> None:
        self.epochs[phase] = self.epochs.get(phase, 0.0) + epochs
        self.seconds[phase] = self.seconds.get(phase, 0.0) + seconds

    def fraction(self, phase: str, share: float) -> float:
        """Share of the whole run that is done when a share of the phase is done."""
        labels = list(self.plan)
        before = sum(self.plan[name] for name in labels[: labels.index(phase)]) if phase in labels else 0.0
        return (before + self.plan.get(phase, 0.0) * share) / (sum(self.plan.values()) or 1.0)

    def allotted(self, phase: str) -> float | None:
        """Seconds for a phase: of what is left of the limit, its share among this phase and those after it."""
        left = self.left()
        if left is None or phase not in self.plan:
            return None
        labels = list(self.plan)
        ahead = sum(self.plan[name] for name in labels[labels.index(phase) :])
        return max(0.0, left) * self.plan[phase] / ahead if ahead else 0.0
