"""The training loop of every phase: warm-up, search, pruning, fine-tuning, and the training of candidates."""

import time
from pathlib import Path

from search.training.checkpoint import checkpoint_file
from search.training.comparison import Comparison
from search.training.losses import Losses, TrainingDiverged
from search.training.phase import Phase
from search.training.phase_state import PhaseCheckpoint, PhaseState
from search.training.reporting import Reporter
from search.training.runtime import Runtime
from search.training.step import Steps
from search.training.time_budget import TimeBudget
from spaces.decisions.choice import Choice
from spaces.space import INTEGER, Space


class PhaseRun:
    """The epochs of one phase of one space.

    Args:
        kept: whether the phase writes checkpoints, and goes on from them.
    """

    def __init__(self, space: Space, phase: Phase, runtime: Runtime, kept: bool = True) -> None:
        self.space, self.phase, self.runtime = space, phase, runtime
        self.steps = Steps(space, phase, runtime)
        self.state = PhaseState(space, self.steps.optimizers, phase.learning.objective)
        self.comparison = Comparison(phase, runtime, self.state, self.steps)
        self.budget = TimeBudget(phase.schedule.epochs, runtime.ledger.allotted(phase.label))
        self.reporter = Reporter(phase, runtime.monitor, runtime.ledger)
        self.path = checkpoint_file(runtime.folder, phase.label)
        self._file = PhaseCheckpoint(self.path, phase.architecture, phase.schedule.epochs, runtime.device)
        self._kept, self._began = kept, 0.0

    def adopt(self, source: Path) -> None:
        """Takes over the float network that this phase came to in another run. Raises what `float_network` raises."""
        self._file.adopt(self.state, source)

    def run(self) -> None:
        """Runs all epochs that are left. After them the space is in training, in the mode of the last epoch.

        Raises:
            CheckpointError: the phase was begun before, and its checkpoint is damaged or of another network.
            TrainingDiverged: the loss is not finite.
        """
        state, epochs, ledger = self.state, self.phase.schedule.epochs, self.runtime.ledger
        if self._kept:
            self._file.resume(state)
            self.steps.rate = state.retreat.rate
        ledger.restore(state.seconds)
        self.comparison.start()
        if state.epoch:
            self.reporter.resumed(state.epoch)
        while not state.finished and state.epoch < epochs:
            self._whole_epoch()
        self.prepare_epoch(done=True)
        ledger.spend(self.phase.name, state.epoch, state.seconds)
        ledger.epochs_begun += epochs

    def _whole_epoch(self) -> None:
        """One epoch of training, its measurement, and its checkpoint.

        Monitors are told before the checkpoint is written. They drop what they know of an epoch that is repeated after
        a kill, but an epoch that they were never told of would be missing. An epoch in which training diverges is
        repeated from where the phase can go back to.
        """
        state, self._began = self.state, time.perf_counter()
        self.prepare_epoch()
        self.comparison.switch()
        try:
            scalars = self.run_epoch()
        except TrainingDiverged as error:
            if not state.retreat.possible:
                raise TrainingDiverged(f"{error} {self._left()}") from error
            state.seconds += time.perf_counter() - self._began
            self.comparison.go_back(f"epoch {state.epoch + 1} had a loss that is not finite, and is repeated")
            return
        value = scalars[self.runtime.task.metric.of("val")] = self.validate()
        state.epoch += 1
        state.seconds += time.perf_counter() - self._began
        state.finished = self._ended() or self.phase.stopping.out_of_patience(state.since_best)
        if state.finished:
            self.comparison.keep(value)
        self.reporter.epoch(state, scalars)
        if not state.finished:
            self.comparison.look_back(scalars["loss/train"], value)
        if self._kept:
            self._file.save(state)

    def _left(self) -> str:
        if not self.path.parent.is_dir():
            return "No epoch was completed, so there is no checkpoint."
        return f"The checkpoint of the last whole epoch is kept in {self.path.parent}."

    def _place(self, share: float = 0.0, running: float = 0.0) -> float:
        """Where the phase is, in epochs, after a share of the next epoch that took so many seconds."""
        return self.budget.place(self.state.epoch + share, self.state.seconds + running)

    def prepare_epoch(self, done: bool = False) -> None:
        """Sets the space as the next epoch needs it; with `done`, as the last epoch left it."""
        schedule = self.phase.schedule
        integer = schedule.integer_epochs > 0 if done else self._place() >= schedule.integers_from
        self.steps.begin_epoch()
        self.space.train()
        self.space.set_mode(INTEGER if integer else schedule.mode)
        for decision in self.space.decisions.values():
            if isinstance(decision, Choice):
                decision.temperature = schedule.temperature_at(self.state.epoch - 1 if done else self.state.epoch)

    def _in_integers(self) -> bool:
        return self.phase.schedule.integer_epochs == 0 or self.space.mode == INTEGER

    def _ended(self) -> bool:
        """Whether epochs or seconds are used up. A phase with integer epochs trains in integers before it ends."""
        return self._in_integers() and self._place() >= self.phase.schedule.epochs

    def run_epoch(self) -> dict[str, float]:
        """Trains one epoch, or less where the seconds of the phase, or of its part before integers, run out."""
        losses, scores, schedule = Losses(self.runtime.device), self.runtime.task.scores(), self.phase.schedule
        batches, epoch, metric = self.runtime.train, self.state.epoch, self.runtime.task.metric.of("train")
        steps = len(batches)
        end = schedule.epochs if self._in_integers() else schedule.integers_from
        for step, (images, targets) in enumerate(batches.epoch(self.runtime.ledger.epochs_begun + epoch)):
            place = self._place(step / steps, time.perf_counter() - self._began)
            if step and place >= end:
                break
            try:
                loss, outputs = self.steps.step(images, targets, place / schedule.epochs)
            except Exception:
                losses.read()  # what a loss that is not finite leads to is no error of its own
                raise
            losses.add(loss, f"phase '{self.phase.label}', epoch {epoch + 1}, step {step + 1}")
            scores.add(outputs, targets, images)
            if self.reporter.is_due(step, steps):
                self.reporter.tick(epoch, step, steps, losses.shown, scores.own_value)
        return {"loss/train": losses.mean, metric: scores.own_value}

    def validate(self) -> float:
        """The metric on validation data. Where epochs are compared by it, the best one so far is noted."""
        value = self.comparison.measured(self.space.mode)
        if self.phase.stopping.compares and self._in_integers():
            self.comparison.epoch(value)
        return value
