"""The cells of `python -m benchmarks.robust`: a part of networks x data x batch size x schedule x flash."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

OWN = "benchmarks.robust_networks"
MOBILENET = "model.strides=[{},1,2,1,1,1,2,1,1,1,1,1,2,1]"  # of the stem, and as conf/model/mobilenet_v1.yaml

# (network, data) -> the network as that data wants it
MODELS: dict[tuple[str, str], tuple[str, ...]] = {
    ("mlp", "digits"): ("model=custom", f"model._target_={OWN}.MLP", "+model.inputs=64"),
    ("mlp", "mnist1d"): ("model=custom", f"model._target_={OWN}.MLP", "+model.inputs=40"),
    ("mlp", "motion"): ("model=custom", f"model._target_={OWN}.MLP", "+model.inputs=768", "+model.width=64"),
    ("small_cnn", "digits"): ("model=custom", f"model._target_={OWN}.SmallCNN"),
    ("small_cnn", "noisy_digits"): ("model=custom", f"model._target_={OWN}.SmallCNN"),
    ("small_cnn", "spoken_digits"): ("model=custom", f"model._target_={OWN}.SmallCNN"),
    ("resnet8", "digits"): ("model=resnet8",),
    ("resnet8", "noisy_digits"): ("model=resnet8",),
    ("resnet8", "fashion"): ("model=resnet8", "model.stride=2"),
    ("resnet8", "cifar10"): ("model=resnet8", "model.stride=2"),
    ("ds_cnn", "spoken_digits"): ("model=ds_cnn",),
    ("mobilenet_v1", "noisy_digits"): ("model=mobilenet_v1", MOBILENET.format(1)),
    ("mobilenet_v1", "fashion"): ("model=mobilenet_v1", MOBILENET.format(2)),
    ("tcn", "motion"): ("model=custom", f"model._target_={OWN}.TCN", "+model.stride=2"),
    ("tcn", "mnist1d"): ("model=custom", f"model._target_={OWN}.TCN"),
}

# A search has at least so many steps. Decisions move in every fourth, so that in the short one they move 50 times.
SEARCH_STEPS = {"short": 200, "medium": 400, "long": 1000}
WARMUP, FINETUNE = 1.5, 2.0  # epochs for one of the search
LEAST_WARMUP, LEAST_FINETUNE = 2, 4


@dataclass(frozen=True)
class Epochs:
    """How the epochs of every run are spent. They are the same for all strategies of a cell.

    Attributes:
        warmup: of the float network, which all strategies share.
        search: of strategies that train or measure before they decide; the others fine-tune for longer.
        finetune: of what was decided.
        steps: of training in an epoch.
    """

    warmup: int
    search: int
    finetune: int
    steps: int

    @property
    def total(self) -> int:
        return self.warmup + self.search + self.finetune


@dataclass(frozen=True)
class Setting:
    """What the float network of a cell depends on."""

    network: str
    data: str
    batch: int
    schedule: str

    @property
    def name(self) -> str:
        return f"{self.network}_{self.data}_{self.batch}_{self.schedule}"

    def epochs(self, images: int) -> Epochs:
        """On so many training images. An incomplete last batch of an epoch is dropped."""
        steps = images // self.batch
        search = ceil(SEARCH_STEPS[self.schedule] / steps)
        warmup, finetune = ceil(WARMUP * search), ceil(FINETUNE * search)
        return Epochs(max(LEAST_WARMUP, warmup), search, max(LEAST_FINETUNE, finetune), steps)


@dataclass(frozen=True)
class Cell:
    """One comparison of all strategies.

    Attributes:
        flash: the budget is the flash of the network at 8 bits, divided by this.
        ram: the same for peak RAM; None: it is not limited.
    """

    setting: Setting
    flash: int
    ram: int | None = None

    @property
    def budgets(self) -> str:
        return f"flash{self.flash}" + (f"_ram{self.ram}" if self.ram else "")

    @property
    def name(self) -> str:
        return f"{self.setting.name}_{self.budgets}"


def _cells(rows: Sequence[tuple[str, str, int, str, Sequence[int]]]) -> tuple[Cell, ...]:
    return tuple(
        Cell(Setting(network, data, batch, schedule), flash)
        for network, data, batch, schedule, fractions in rows
        for flash in fractions
    )


# network, data, batch size, schedule, fractions of flash
CELLS = (
    *_cells(
        (
            ("small_cnn", "noisy_digits", 64, "short", (8, 16)),
            ("mlp", "digits", 256, "long", (32,)),
            ("resnet8", "digits", 128, "short", (2,)),
            ("ds_cnn", "spoken_digits", 64, "short", (8,)),
            ("tcn", "mnist1d", 256, "short", (8,)),
            ("mobilenet_v1", "noisy_digits", 32, "short", (16,)),
            ("resnet8", "fashion", 64, "medium", (16,)),
            ("tcn", "motion", 64, "medium", (16,)),
            ("resnet8", "cifar10", 64, "short", (8, 32)),
            ("small_cnn", "spoken_digits", 32, "short", (4,)),
            ("mlp", "motion", 16, "long", (2,)),
            ("mobilenet_v1", "fashion", 32, "short", (32,)),
            ("small_cnn", "digits", 32, "long", (16,)),
            ("resnet8", "noisy_digits", 32, "medium", (8,)),
            ("mlp", "mnist1d", 128, "long", (16,)),
            ("small_cnn", "noisy_digits", 16, "medium", (32,)),
            ("resnet8", "fashion", 16, "short", (4,)),
            ("ds_cnn", "spoken_digits", 16, "medium", (2, 16)),
        )
    ),
    Cell(Setting("resnet8", "noisy_digits", 32, "medium"), flash=4, ram=2),
    Cell(Setting("tcn", "motion", 64, "medium"), flash=2, ram=2),
    Cell(Setting("mobilenet_v1", "noisy_digits", 32, "short"), flash=4, ram=2),
)

QUICK = (
    Cell(Setting("mlp", "digits", 64, "short"), flash=8),
    Cell(Setting("small_cnn", "noisy_digits", 32, "short"), flash=16),
    Cell(Setting("tcn", "mnist1d", 64, "short"), flash=4, ram=2),
)
