"""A phase of training, as values: how long and how fast it trains, when it ends, and what learns."""

from dataclasses import dataclass, field

from search.objective.objective import Objective
from search.training import learning_rate
from spaces.space import FAKE, Space

TURN = 4  # steps of the weights to one of the decisions and of the activations' steps


@dataclass(frozen=True)
class Schedule:
    """How long a phase trains, how fast, and in which mode of the Space.

    Attributes:
        epochs: how many there are. The phase is shorter where its seconds or its patience run out.
        lr: the highest learning rate of weights, norms and biases.
        mode: mode of the Space.
        integer_epochs: how many epochs at the end run in integer mode.
        steady: the learning rate does not fall, because the next phase goes on from there.
        goes_on: the learning rate does not climb, because the phase before was steady.
        temperature: of the choices, in the first epoch and in the last. In between it moves by equal factors.
    """

    epochs: int
    lr: float
    mode: str = FAKE
    integer_epochs: int = 0
    steady: bool = False
    goes_on: bool = False
    temperature: tuple[float, float] = (1.0, 1.0)

    @property
    def integers_from(self) -> int:
        """The epoch from which the Space runs in integer mode; `epochs` where none does."""
        return self.epochs - self.integer_epochs

    def rate(self, progress: float) -> float:
        """The factor on the learning rate when that share of the phase is done."""
        climb = 1.0 if self.goes_on else learning_rate.climbing(progress)
        fall = 1.0 if self.steady else learning_rate.settling(progress, 0.0 if self.goes_on else learning_rate.CLIMB)
        return climb * fall

    def temperature_at(self, epoch: int) -> float:
        start, end = self.temperature
        return float(start * (end / start) ** (epoch / max(1, self.epochs - 1)))


@dataclass(frozen=True)
class Stopping:
    """When a phase ends before its last epoch, and which of its epochs is kept.

    Attributes:
        patience: after how many epochs without a better metric on validation data the phase ends; None: it does not.
        keep_best: whether a network that is trained on is compared with its epochs, so that it is never left clearly
            worse than it was.

    With either of them the epoch with the best metric on validation data is kept. Where a phase has integer epochs,
    only these and the network at their beginning are compared.
    """

    patience: int | None = None
    keep_best: bool = False

    @property
    def compares(self) -> bool:
        """Whether epochs are compared by their metric on validation data."""
        return self.keep_best or self.patience is not None

    def out_of_patience(self, since_best: int) -> bool:
        return self.patience is not None and since_best >= self.patience


@dataclass(frozen=True)
class Learning:
    """What learns in a phase beside the weights, and what holds it back.

    Attributes:
        weight_decay: weight decay of weights.
        pattern_decay: weight decay of the parameters of a pattern's structures.
        decision_lr: the learning rate of decisions; 0: they do not learn.
        settled_from: share of the phase from which the learning rate of decisions falls.
        objective: costs in the loss; None: the task's loss alone.
        turn: steps of the weights to one of the decisions and of the activations' steps.
    """

    weight_decay: float = 0.0
    pattern_decay: float = 0.0
    decision_lr: float = 0.0
    settled_from: float = 1.0
    objective: Objective | None = None
    turn: int = TURN

    def rate(self, progress: float) -> float:
        """The factor on the learning rate of decisions when that share of the phase is done."""
        return learning_rate.settling(progress, self.settled_from)


@dataclass(frozen=True)
class Teacher:
    """The float network that training distils from, with the weight and the temperature of that part of the loss."""

    network: Space
    weight: float
    temperature: float


@dataclass(frozen=True)
class Phase:
    """One phase of training.

    Attributes:
        number: of the phase among those of its name, from 1.
        teacher: None: nothing is distilled.
        architecture: the hash of the network in training, where it is a decided one.
    """

    name: str
    schedule: Schedule
    stopping: Stopping = field(default_factory=Stopping)
    learning: Learning = field(default_factory=Learning)
    number: int = 1
    teacher: Teacher | None = None
    architecture: str = ""

    @property
    def label(self) -> str:
        return label(self.name, self.number)

    @property
    def trains_on(self) -> bool:
        """Whether it trains a decided network on, and so must not leave it worse than it was."""
        return self.stopping.keep_best and bool(self.architecture)


def label(name: str, number: int) -> str:
    """ "finetune", "finetune 2" ..., as the plan, the display and the checkpoints call a phase."""
    return name if number == 1 else f"{name} {number}"
