"""A run small enough for tests: 8x8 digits, two convolutions, seconds."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from cost_models.target import Target
from search.data import OPTIONS
from search.experiment import Experiment, prepare
from search.run import execute
from search.run import run as run_in_folder
from search.settings.run import FinetuneSettings, Settings, SpaceSettings, TrainSettings, WarmupSettings
from search.settings.strategies import GradientSettings
from search.strategies import SETTINGS
from search.strategies.problem import Problem
from search.training.process import process_for

TARGET = Target(
    name="bench",
    source="made up for tests",
    flash_bytes=65536,
    ram_bytes=16384,
    frequency_hz=1e6,
    weight_bits=(2, 4, 8),
    activation_bits=(8,),
    granularity="channel",
    channel_multiple=1,
    cycles_per_mac_source="made up",
    cycles_per_mac={},
    cycles_per_element_source="made up",
    cycles_per_element={},
)


def cross_entropy(outputs: torch.Tensor, labels: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """A loss as strategies take it, of outputs, targets and images."""
    return nn.functional.cross_entropy(outputs, labels)


class Small(nn.Module):
    """A user's network."""

    def __init__(self, channels: int = 8, classes: int = 4) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, channels, 3, 1, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, 2 * channels, 3, 2, 1)
        self.head = nn.Linear(2 * channels, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm1(self.conv1(x)))
        return self.head(torch.relu(self.conv2(x)).mean((2, 3)))


def write_stripes(path: Path, count: int = 480, seed: int = 0) -> Path:
    """Four classes of noisy 8x8 patterns as an npz file: learnt in seconds."""
    generator = np.random.default_rng(seed)
    patterns = generator.normal(size=(4, 1, 8, 8))
    arrays = {}
    for split, n in (("train", count), ("val", count // 4), ("test", count // 4)):
        labels = generator.permutation(np.arange(n) % 4)
        arrays[f"x_{split}"] = (patterns[labels] + 0.5 * generator.normal(size=(n, 1, 8, 8))).astype(np.float32)
        arrays[f"y_{split}"] = labels
    np.savez(path, **arrays)
    return path


def settings(data: Path, strategy: str = "gradient", **changes: Any) -> Settings:
    own = GradientSettings(epochs=4, lr=0.036, decision_lr=0.02) if strategy == "gradient" else SETTINGS[strategy]()
    plain = {
        "data": OPTIONS["npz"](file=str(data)),
        "model": {"_target_": "tests.search.small.Small"},
        "target": deepcopy(TARGET),  # tests may change it
        "strategy": own,
        "space": SpaceSettings(weight_bits=[0, 2, 4, 8] if strategy == "gradient" else [2, 4, 8]),
        "train": TrainSettings(
            batch_size=20,
            device="cpu",
            warmup=WarmupSettings(epochs=2, lr=0.09),
            finetune=FinetuneSettings(epochs=3, integer_epochs=1, lr=0.036),
        ),
        "name": "small",
        "budgets": {"flash_bytes": 500, "peak_ram_bytes": 700} if strategy == "gradient" else {},
        "tensorboard": False,
    }
    return Settings(**(plain | changes))


def prepared(folder: Path, chosen: Settings, make: Callable[[], nn.Module] = Small) -> Experiment:
    """A run before its first epoch: what can be refused is refused."""
    return prepare(chosen, lambda _: make(), folder)


def prepared_and_run(
    folder: Path, chosen: Settings, make: Callable[[], nn.Module] = Small
) -> tuple[Experiment, dict[str, Any]]:
    """What was prepared, and the summary of the run."""
    with process_for(chosen.train) as device:
        experiment = prepared(folder, chosen, make)
        return experiment, execute(experiment, folder, device)


def run(folder: Path, chosen: Settings, make: Callable[[], nn.Module] = Small) -> dict[str, Any]:
    """The summary of a whole run."""
    return run_in_folder(chosen, lambda _: make(), folder)


class Reached(BaseException):
    """The strategy is to begin; with the problem that it is given."""


def problem_of(folder: Path, chosen: Settings, make: Callable[[], nn.Module] = Small) -> Problem:
    """What the strategy of a run is given, behind warm-up."""

    def stopped(problem: Problem) -> None:
        raise Reached(problem)

    with process_for(chosen.train) as device:
        experiment = prepared(folder, chosen, make)
        experiment.strategy.run = stopped
        with pytest.raises(Reached) as reached:
            execute(experiment, folder, device)
    return reached.value.args[0]
