"""Networks of a phase against one another on validation data: which is kept, and when the phase goes back to one.

See docs/methods.md, section 11.
"""

from math import isinf

from search.training.evaluation import scores_of
from search.training.phase import Phase
from search.training.phase_state import PhaseState
from search.training.retreat import POINTS, START
from search.training.runtime import Runtime
from search.training.step import Steps
from spaces.space import INTEGER

AS_DECIDED = "the network as decided"


class Comparison:
    """Measures the networks of one phase, and keeps in its state what comes of it."""

    def __init__(self, phase: Phase, runtime: Runtime, state: PhaseState, steps: Steps) -> None:
        self.phase, self.runtime, self.state, self.steps = phase, runtime, state, steps
        self.space, self.metric = state.space, runtime.task.metric

    def measured(self, mode: str) -> float:
        """The metric of the network as it is now."""
        return scores_of(self.space, self.runtime.val, self.runtime.task, mode).value

    # What is kept

    def start(self) -> None:
        """Measures a decided network before it is trained on, so that it is never left clearly worse than it was.

        Searches choose networks by the same images, so luck is in the metric, and two standard errors are taken off.
        """
        state, schedule = self.state, self.phase.schedule
        if not self.phase.trains_on or state.best is not None or state.epoch:
            return
        mode = INTEGER if schedule.integer_epochs else schedule.mode
        value = self.measured(mode)
        lower = value - 2 * self._error(value)
        state.offer(lower, f"{self._named(AS_DECIDED, value, mode)}, taken as {self._written(lower)}")
        began = value if mode == schedule.mode else self.measured(schedule.mode)
        state.retreat.stand(began, state.copied(), margins=START)

    def switch(self) -> None:
        """Measures the network in integer mode before its first step there, so that it may be kept."""
        state = self.state
        if state.in_integers or self.space.mode != INTEGER:
            return
        state.in_integers = True
        if not state.epoch or not self.phase.stopping.compares:
            return
        value = self.measured(INTEGER)
        state.offer(value, self._named("the network at the switch to integers", value, INTEGER))
        if self.phase.trains_on:
            state.retreat.stand(value, state.copied())

    def epoch(self, value: float) -> None:
        """Takes the metric of an epoch that is to be compared, and not counted yet."""
        self.state.compare(value, self._epoch(self.state.epoch + 1, value))

    def keep(self, value: float) -> None:
        """Takes the best network, where some were compared. Says so where the last epoch did not leave it.

        Args:
            value: the metric of the last epoch.
        """
        self.state.take_best()
        last = self._epoch(self.state.epoch, value)
        if self.state.best is None or self.state.kept == last:
            return
        began = self.state.kept.startswith(AS_DECIDED)
        why = "no epoch was better than the network that it started from, which is kept: " if began else "kept "
        self._note(f"{why}{self.state.kept}; the last was {last}")

    # What gets worse

    def look_back(self, loss: float, value: float) -> None:
        """Goes back where an epoch left the network clearly worse.

        Args:
            loss: training loss of the epoch, which the state counts already; value: its metric.
        """
        retreat = self.state.retreat
        if retreat.value is None:
            return
        best, good = self._written(retreat.value), retreat.loss
        if retreat.after(loss, value, self._margin(retreat.value), self.state.copied):
            found = f"epoch {self.state.epoch} ended with loss {loss:.3g} and val {self._written(value)}"
            loss_before = "" if isinf(good) else f", loss {good:.3g}"
            self.go_back(f"{found} (before: val {best}{loss_before})")

    def go_back(self, reason: str) -> None:
        """Goes on from the best network so far in this mode, with optimizers that have no past and a smaller rate."""
        retreat = self.state.retreat
        self.space.load_state_dict(retreat.go_back())
        self.steps.restart(retreat.rate)
        self._note(f"{reason}; going on from the network before, with {retreat.rate:.2g} of the learning rate")

    # In words and figures

    def _error(self, value: float) -> float:
        return self.runtime.task.standard_error(value, self.runtime.val.images)

    def _margin(self, value: float) -> float:
        """A difference from this value that is no chance."""
        return max(2 * self._error(value), POINTS / self.metric.factor)

    def _epoch(self, number: int, value: float) -> str:
        return self._named(f"epoch {number} of {self.phase.schedule.epochs}", value, self.space.mode)

    def _named(self, network: str, value: float, mode: str) -> str:
        integers = "integers, " if mode == INTEGER else ""
        return f"{network} ({integers}val {self._written(value)})"

    def _written(self, value: float) -> str:
        return self.metric.written(value)

    def _note(self, text: str) -> None:
        self.runtime.monitor.note(f"{self.phase.label}: {text}")
