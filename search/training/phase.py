"""A stretch of training, and what all of a run share."""

import time
from dataclasses import dataclass, field
from pathlib import Path

import torch

from search.data.batches import Batches
from search.monitor.events import Monitor
from search.objective.objective import Objective
from search.training import learning_rate
from spaces.space import FAKE, Space


@dataclass
class Phase:
    """One stretch of training.

    Attributes:
        mode: of the Space; the last `integer_epochs` run in integer mode with frozen norms.
        teacher: float network to distil from, with the loss's weight and temperature.
        steady: the learning rate does not fall, since the next phase goes on from there.
        goes_on: the learning rate does not climb, since the phase before was steady.
        settled_from: share of the phase from which the rate of the decisions falls.
        patience: epochs without a better validation accuracy after which the phase ends; the best epoch is kept.
        keep_best: the epoch of best validation accuracy is kept (among the integer epochs, where there are any).
        number: of the phases of this name, from 1.
    """

    name: str
    epochs: int
    lr: float
    mode: str = FAKE
    weight_decay: float = 0.0
    pattern_decay: float = 0.0
    decision_lr: float = 0.0
    steady: bool = False
    goes_on: bool = False
    settled_from: float = 1.0
    objective: Objective | None = None
    integer_epochs: int = 0
    patience: int | None = None
    keep_best: bool = False
    temperature: tuple[float, float] = (1.0, 1.0)
    teacher: tuple[Space, float, float] | None = None
    kept: bool = True  # in checkpoints
    architecture: str = ""  # hash of the network in training, where it is a decided one
    number: int = 1

    @property
    def label(self) -> str:
        return label(self.name, self.number)

    def rate(self, progress: float, decides: bool) -> float:
        """Factor on a learning rate, that of decisions or that of all else."""
        if decides:
            return learning_rate.settling(progress, self.settled_from)
        climb = 1.0 if self.goes_on else learning_rate.climbing(progress)
        fall = 1.0 if self.steady else learning_rate.settling(progress, 0.0 if self.goes_on else learning_rate.CLIMB)
        return climb * fall


def label(name: str, number: int) -> str:
    """ "finetune", "finetune 2" ..., as the plan, the display and the checkpoints call a phase."""
    return name if number == 1 else f"{name} {number}"


def checkpoint_file(folder: Path, phase: str) -> Path:
    return folder / "checkpoints" / f"{phase.replace(' ', '-')}.pt"


@dataclass
class Context:
    """What all phases of a run share.

    Attributes:
        whole: training data as one process would see them: for statistics that all processes must share.
        plan: label of a phase -> its share of the run's work.
        limit: seconds that the whole run may take.
        seconds, epochs: name of a phase -> what it took, candidates included.
        restored: seconds of these that other processes took: of a run that goes on, or whose float network is ours.
    """

    train: Batches
    val: Batches
    whole: Batches
    device: torch.device
    folder: Path
    monitor: Monitor
    label_smoothing: float = 0.0
    units: dict[str, str] = field(default_factory=dict)
    budgets: dict[str, float] = field(default_factory=dict)
    plan: dict[str, float] = field(default_factory=dict)
    limit: float | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    epochs: dict[str, float] = field(default_factory=dict)
    epochs_done: int = 0
    restored: float = 0.0
    began: float = field(default_factory=time.perf_counter)

    def elapsed(self) -> float:
        """Seconds of the run, whatever they went into."""
        return self.restored + time.perf_counter() - self.began

    def spend(self, phase: str, epochs: float, seconds: float) -> None:
        self.epochs[phase] = self.epochs.get(phase, 0.0) + epochs
        self.seconds[phase] = self.seconds.get(phase, 0.0) + seconds

    def fraction(self, phase: str, share: float) -> float:
        """Of the whole run, when a share of the phase is done."""
        labels = list(self.plan)
        before = sum(self.plan[name] for name in labels[: labels.index(phase)]) if phase in labels else 0.0
        return (before + self.plan.get(phase, 0.0) * share) / (sum(self.plan.values()) or 1.0)

    def allotted(self, phase: str) -> float | None:
        """Seconds for a phase: its share, among the phases from it on, of what is left of the limit."""
        if self.limit is None or phase not in self.plan:
            return None
        labels = list(self.plan)
        ahead = sum(self.plan[name] for name in labels[labels.index(phase) :])
        return max(0.0, self.limit - self.elapsed()) * self.plan[phase] / ahead if ahead else 0.0
