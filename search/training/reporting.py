"""What a phase tells its monitor: its state in an epoch, several times a second, and its figures after every epoch."""

import time

from search.budgets.layer_costs import bit_counts
from search.monitor.events import EpochEnd, Monitor, Tick
from search.training.ledger import Ledger
from search.training.phase import Phase
from search.training.phase_state import PhaseState
from spaces.decisions.choice import Choice
from spaces.decisions.gates import Gate

TICK_SECONDS = 0.1  # figures are read of the device for a tick


class Reporter:
    """Tells a monitor of one phase."""

    def __init__(self, phase: Phase, monitor: Monitor, ledger: Ledger) -> None:
        self.phase, self.monitor, self.ledger = phase, monitor, ledger
        self._last_tick = 0.0

    def resumed(self, epoch: int) -> None:
        self.monitor.note(f"{self.phase.label}: resumed after epoch {epoch} of {self.phase.schedule.epochs}")

    def is_due(self, step: int, steps: int) -> bool:
        """Whether a tick is due: some time after the last one, and after the last step of an epoch."""
        return step + 1 == steps or time.monotonic() - self._last_tick >= TICK_SECONDS

    def tick(self, epoch: int, step: int, steps: int, loss: float, value: float) -> None:
        """To be called after a training step where it is due. Loss and value (the metric) are of this
        epoch so far, in training.
        """
        self._last_tick = time.monotonic()
        objective, epochs = self.phase.learning.objective, self.phase.schedule.epochs
        limits = {} if objective is None else objective.budgets
        self.monitor.tick(
            Tick(
                phase=self.phase.label,
                epoch=epoch,
                epochs=epochs,
                step=step,
                steps=steps,
                loss=loss,
                value=value,
                costs={} if objective is None else dict(objective.costs),
                budgets=limits,
                units={} if objective is None else {n: objective.models[n].unit for n in objective.costs},
                run_fraction=self.ledger.fraction(self.phase.label, (epoch + (step + 1) / steps) / epochs),
            )
        )

    def epoch(self, state: PhaseState, scalars: dict[str, float]) -> None:
        """To be called after an epoch, which the state counts already.

        Args:
            scalars: the loss and the metric. Costs, forces, rates and the temperature are added here.
        """
        objective, decisions = state.objective, state.space.decisions.values()
        if objective is not None:
            scalars |= {f"cost/{n}": c for n, c in objective.costs.items()}
            scalars |= {f"force/{n}": f * objective.seed_costs[n] for n, f in objective.forces.items()}
        scalars["lr/weights"] = state.optimizers[0].param_groups[0]["lr"]
        choices = [d for d in decisions if isinstance(d, Choice)]
        if choices and self.phase.learning.decision_lr:
            scalars["temperature"] = choices[0].temperature
        self.monitor.epoch(
            EpochEnd(
                phase=self.phase.label,
                epoch=state.epoch - 1,
                epochs=self.phase.schedule.epochs,
                global_epoch=self.ledger.epochs_begun + state.epoch - 1,
                scalars=scalars,
                bits=bit_counts(state.space),
                gates={d.name: d.shadow.tolist() for d in decisions if isinstance(d, Gate)},
            )
        )
