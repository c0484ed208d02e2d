"""What can be set for a run: plain dataclasses, the schema of every YAML file. A key that is not here is refused."""

import re
from dataclasses import dataclass, field
from math import inf, sqrt
from typing import Any, Protocol

from cost_models.target import Target
from search.data.augment import Augment
from search.settings.front import Front
from search.settings.require import (
    plain_numbers,
    require,
    require_0_or_more,
    require_0_to_1,
    require_1_or_more_or_null,
    require_over_0,
)
from search.settings.tasks import ClassificationSettings
from spaces.decisions.choice import MODES
from spaces.quantizers.calibrate import METHODS as CALIBRATIONS

DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")
MOST_THREADS = 1024
RATE_BATCH = 64
MOST_SEED = 2**64 - 1  # that torch takes


@dataclass
class SpaceSettings:
    """What is open in the space; spaces.searchable.Options says what each key means."""

    weight_bits: list[int] = field(default_factory=lambda: [0, 2, 4, 8])
    granularity: str = "channel"
    activation_bits: Any = 8  # an int, several to choose from, or None
    input_bits: int | None = None
    output_bits: int | None = None
    kernel_sizes: list[int] = field(default_factory=list)
    time: list[str] = field(default_factory=list)
    pattern: str = ""
    exclude: list[str] = field(default_factory=list)
    drop_softmax: bool = False
    mode: str = "hard"
    temperature: float = 1.0
    hysteresis: float = 0.0
    trainable_threshold: bool = False

    def __post_init__(self) -> None:
        require("space.hysteresis", self.hysteresis, 0 <= self.hysteresis < 0.5, "0 to below 0.5")
        bits = self.activation_bits
        require("space.activation_bits", bits, not isinstance(bits, bool), "a number, a list of numbers, or null")
        several = isinstance(bits, list) and bits and all(isinstance(b, int) for b in bits)
        holds = bits is None or isinstance(bits, int) or several
        require("space.activation_bits", bits, bool(holds), "a number, a list of numbers, or null")
        require("space.mode", self.mode, self.mode in MODES, f"one of {MODES}")
        require_over_0("space", self, "temperature")


@dataclass
class WarmupSettings:
    """Training of the float network.

    Attributes:
        patience: so many epochs without a better validation accuracy end the warm-up; null: it runs to its end.
        source: folder of a run whose float network is taken over. The epochs and seconds that it took there count.
    """

    epochs: int = 10
    lr: float = 0.1
    weight_decay: float = 5e-4
    patience: int | None = None
    source: str | None = None

    def __post_init__(self) -> None:
        require_0_or_more("train.warmup", self, "epochs")
        require_0_to_1("train.warmup", self, "weight_decay")
        require_over_0("train.warmup", self, "lr")
        require_1_or_more_or_null("train.warmup", self, "patience")


@dataclass
class FinetuneSettings:
    """Training of the decided network: first quantized, then in integer semantics.

    Attributes:
        integer_epochs: how many of the epochs, at the end, train in integer semantics. The best of them, or the
            network before them, is kept.
        patience: so many integer epochs without a better validation accuracy end the fine-tuning.
    """

    epochs: int = 10
    integer_epochs: int = 2
    lr: float = 0.03
    weight_decay: float = 1e-4
    patience: int | None = None

    def __post_init__(self) -> None:
        require_0_or_more("train.finetune", self, "epochs")
        require_0_to_1("train.finetune", self, "weight_decay")
        allowed = (
            f"0 to train.finetune.epochs, {self.epochs}; set it too, as train.finetune.integer_epochs={self.epochs}"
        )
        require("train.finetune.integer_epochs", self.integer_epochs, 0 <= self.integer_epochs <= self.epochs, allowed)
        require_over_0("train.finetune", self, "lr")
        require_1_or_more_or_null("train.finetune", self, "patience")


@dataclass
class DistillationSettings:
    """The float network as a teacher: (1 - weight) * task loss + weight * T^2 KL(teacher || student).

    A weight of 0 turns it off.
    """

    weight: float = 0.0
    temperature: float = 4.0

    def __post_init__(self) -> None:
        require("train.distillation.weight", self.weight, 0 <= self.weight <= 1, "0 to 1")
        require_over_0("train.distillation", self, "temperature")


@dataclass
class TrainSettings:
    """What all training of a run shares.

    Learning rates of weights (`train.warmup.lr`, `train.finetune.lr`, `strategy.lr`) are those at a batch of 64.

    Attributes:
        batch_size: images in a step, of all processes together.
        device: "auto", which is "cuda" where there is a CUDA device, else "cpu". "cuda" is a device that no other run
            has, where there is one, and under torchrun the device of the process's number. "cuda:N" is that device.
        threads: of the process; null: as many as torch takes.
        graphs: whether steps are recorded as CUDA graphs, see search.training.recorded.
    """

    batch_size: int = 64
    device: str = "auto"
    threads: int | None = None
    graphs: bool = False
    calibration: str = "mse"
    label_smoothing: float = 0.0
    augment: Augment = field(default_factory=Augment)
    warmup: WarmupSettings = field(default_factory=WarmupSettings)
    finetune: FinetuneSettings = field(default_factory=FinetuneSettings)
    distillation: DistillationSettings = field(default_factory=DistillationSettings)

    def __post_init__(self) -> None:
        require("train.batch_size", self.batch_size, self.batch_size >= 1, "1 or more")
        require("train.device", self.device, bool(DEVICE.fullmatch(self.device)), "auto, cpu, cuda or cuda:N")
        few = self.threads is None or 1 <= self.threads <= MOST_THREADS
        require("train.threads", self.threads, few, f"1 to {MOST_THREADS}, or null")
        shift, cutout = self.augment.shift, self.augment.cutout
        require(
            "train.augment.shift",
            shift,
            shift is None or 0 <= shift <= 0.5,
            "0 to 0.5, a share of each length, or null",
        )
        require("train.augment.cutout", cutout, 0 <= cutout < 1, "0 to below 1, a share of each length")
        require_0_or_more("train.augment", self.augment, "noise")
        require("train.calibration", self.calibration, self.calibration in CALIBRATIONS, f"one of {CALIBRATIONS}")
        require("train.label_smoothing", self.label_smoothing, 0 <= self.label_smoothing < 1, "0 to below 1")

    def at_batch(self, lr: float) -> float:
        """A learning rate that is given at a batch of `RATE_BATCH`, at this batch size.

        It goes with the square root of the batch size, which keeps the variance of a step the same (Krizhevsky, arXiv
        1404.5997).
        """
        return lr * sqrt(self.batch_size / RATE_BATCH)


@dataclass
class LimitSettings:
    """What a whole run may take, warm-up and fine-tuning of all points included.

    Attributes:
        epochs: of training. A search uses them up: the gradient's search is as long as they allow, other searches
            measure candidates until they are used up, and a strategy that searches nothing trains longer.
        seconds: every phase gets its share of them and ends early where it has to. The time to read data at the start
            and to export at the end comes on top.
    """

    epochs: float | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        for key in ("epochs", "seconds"):
            value = getattr(self, key)
            require(f"limits.{key}", value, value is None or 0 < value < inf, "a finite number over 0, or null")


class Named(Protocol):
    """The settings of one option of a group, such as a data set; each has a class of its own."""

    @property
    def name(self) -> str:
        """The option's name, as in `strategy=gradient`."""


@dataclass
class Settings:
    """A whole run."""

    data: Named
    model: dict[str, Any]
    target: Target
    strategy: Named
    task: Named = field(default_factory=ClassificationSettings)
    space: SpaceSettings = field(default_factory=SpaceSettings)
    train: TrainSettings = field(default_factory=TrainSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    front: Front = field(default_factory=Front)
    name: str = "experiment"
    seed: int = 0
    folder: str | None = None
    budgets: dict[str, float] = field(default_factory=dict)
    lambdas: dict[str, float] = field(default_factory=dict)
    costs: list[str] = field(default_factory=lambda: ["flash_bytes", "peak_ram_bytes", "macs"])
    tensorboard: bool = True
    quiet: bool = False  # nothing on the terminal but errors, and at the end the run's folder
    plain_values: dict[str, Any] = field(default_factory=dict)  # the same as plain values, for config.yaml

    def __post_init__(self) -> None:
        require("name", self.name, bool(self.name), "the name of a folder")
        require("folder", self.folder, self.folder != "", "a path; runs/NAME/TIME where folder is left out")
        require("seed", self.seed, 0 <= self.seed <= MOST_SEED, f"0 to {MOST_SEED}")
        self.budgets = plain_numbers("budgets", self.budgets)
        self.lambdas = plain_numbers("lambdas", self.lambdas)
