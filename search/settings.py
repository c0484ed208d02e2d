"""What a run can be told: plain dataclasses, the schema of every YAML file. A key that is not here is refused."""

from dataclasses import dataclass, field
from typing import Any

from search.data.augment import Augment


@dataclass
class SpaceSettings:
    """See spaces.searchable.Options."""

    weight_bits: list[int] = field(default_factory=lambda: [0, 2, 4, 8])
    granularity: str = "channel"
    activation_bits: int | None = 8
    input_bits: int | None = None
    output_bits: int | None = None
    exclude: list[str] = field(default_factory=list)
    mode: str = "hard"
    temperature: float = 1.0
    hysteresis: float = 0.0
    trainable_threshold: bool = False


@dataclass
class WarmupSettings:
    """Training of the float network; `patience` epochs without a better validation accuracy end it."""

    epochs: int = 10
    lr: float = 0.1
    weight_decay: float = 5e-4
    patience: int | None = None


@dataclass
class FinetuneSettings:
    """Training of the decided network: quantized, then `integer_epochs` in integer semantics with frozen norms."""

    epochs: int = 10
    integer_epochs: int = 2
    lr: float = 0.03
    weight_decay: float = 1e-4
    patience: int | None = None


@dataclass
class DistillationSettings:
    """Loss = (1 - weight) cross-entropy + weight T^2 KL(teacher || student); the float network teaches. 0: off."""

    weight: float = 0.0
    temperature: float = 4.0


@dataclass
class TrainSettings:
    batch_size: int = 64
    device: str = "auto"
    threads: int | None = None
    calibration: str = "mse"
    label_smoothing: float = 0.0
    augment: Augment = field(default_factory=Augment)
    warmup: WarmupSettings = field(default_factory=WarmupSettings)
    finetune: FinetuneSettings = field(default_factory=FinetuneSettings)
    distillation: DistillationSettings = field(default_factory=DistillationSettings)


@dataclass
class GradientSettings:
    """Differentiable search.

    Attributes:
        method: of meeting budgets: "augmented_lagrangian" or "duccio".
        ramp: share of the search in which the target moves from the seed network's cost to the budget.
        final_temperature: of the choices at the end; they start at space.temperature.
    """

    name: str = "gradient"
    epochs: int = 10
    lr: float = 0.03
    decision_lr: float = 1e-2
    weight_decay: float = 1e-4
    method: str = "augmented_lagrangian"
    ramp: float = 0.6
    final_temperature: float = 1.0


@dataclass
class FixedSettings:
    """One precision for all weights, nothing pruned: plain quantization-aware training."""

    name: str = "fixed"
    weight_bits: int = 8


@dataclass
class Settings:
    """A whole run."""

    data: Any
    model: dict[str, Any]
    target: Any
    strategy: Any
    space: SpaceSettings = field(default_factory=SpaceSettings)
    train: TrainSettings = field(default_factory=TrainSettings)
    experiment: str = "experiment"
    seed: int = 0
    folder: str | None = None
    budgets: dict[str, float] = field(default_factory=dict)
    lambdas: dict[str, float] = field(default_factory=dict)
    costs: list[str] = field(default_factory=lambda: ["flash_bytes", "peak_ram_bytes", "macs"])
    tensorboard: bool = True
    plain_values: dict[str, Any] = field(default_factory=dict)  # the same as plain values, for config.yaml
