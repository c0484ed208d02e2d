"""Small data sets for each task, made here."""

import numpy as np
from torch import Tensor, nn
from torch.nn import functional as F

from search.data import Data, from_arrays
from search.tasks import CustomTask

EXAMPLES, SIZE = 160, 8


def _noise(seed: int = 0, shape: tuple[int, ...] = (1, SIZE, SIZE)) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.3, (EXAMPLES, *shape)).astype(np.float32)


def _places(seed: int = 1, count: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, SIZE, (count, EXAMPLES))


def numbers() -> Data:
    """The brightness of an image in other units, and where its bright column is."""
    x, (column,) = _noise(), _places()
    level = np.random.default_rng(2).uniform(-1, 1, EXAMPLES)
    x += level[:, None, None, None]
    x[np.arange(EXAMPLES), 0, :, column] += 2
    return from_arrays({"x_train": x, "y_train": np.stack([300 + 40 * level, column], 1)}, names=["level", "column"])


def tags() -> Data:
    """A bright row, a bright column, both, or neither."""
    x, (row, column) = _noise(), _places(count=2)
    there = np.random.default_rng(3).integers(0, 2, (EXAMPLES, 2))
    x[np.arange(EXAMPLES), 0, row] += 2 * there[:, :1]
    x[np.arange(EXAMPLES), 0, :, column] += 2 * there[:, 1:]
    return from_arrays({"x_train": x, "y_train": there}, names=["row", "column"])


def masks() -> Data:
    """A bright square, and a border that is of no class."""
    x, (top, left) = _noise(), _places(count=2) // 2
    y = np.zeros((EXAMPLES, SIZE, SIZE), np.int64)
    for number, (row, column) in enumerate(zip(top, left, strict=True)):
        y[number, row : row + 4, column : column + 4] = 1
    x[:, 0] += 1.5 * y
    y[:, 0], y[:, -1] = 255, 255
    return from_arrays({"x_train": x, "y_train": y}, targets="masks")


def anomalies() -> Data:
    """Waves of one channel; those of an anomaly have a jump."""
    rng, time = np.random.default_rng(4), np.arange(32) / 32

    def waves(count: int) -> np.ndarray:
        phase = rng.uniform(0, 2 * np.pi, (count, 1))
        return (np.sin(2 * np.pi * 2 * time + phase) + rng.normal(0, 0.05, (count, 32)))[:, None].astype(np.float32)

    arrays = {"x_train": waves(EXAMPLES)}
    for split in ("val", "test"):
        x, y = waves(60), np.arange(60) % 2
        x[y == 1, 0, 10:14] += 1.5
        arrays |= {f"x_{split}": x, f"y_{split}": y}
    return from_arrays(arrays, has_channels=True, targets="anomalies")


def bright() -> Data:
    """Two classes: dark and bright."""
    x, y = _noise(), np.arange(EXAMPLES) % 2
    x[y == 1] += 0.5
    return from_arrays({"x_train": x, "y_train": y})


class Head(nn.Sequential):
    """Two convolutions, and a number of outputs."""

    def __init__(self, classes: int = 2) -> None:
        super().__init__(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, 2, 1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(128, classes),
        )


class Maps(nn.Sequential):
    """A class at each place."""

    def __init__(self, classes: int = 2) -> None:
        super().__init__(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, classes, 3, padding=1))


class Again(nn.Sequential):
    """What it is given, through few channels."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv1d(1, 8, 5, 2, 2),
            nn.ReLU(),
            nn.Conv1d(8, 4, 5, 2, 2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(32, 32),
            nn.Unflatten(1, (1, 32)),
        )


class TwoHeads(nn.Module):
    """The level, and a map of columns."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Flatten())
        self.level, self.column = nn.Linear(8 * SIZE * SIZE, 1), nn.Linear(8 * SIZE * SIZE, SIZE)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        seen = self.stem(x)
        return self.level(seen), self.column(seen)


class Both(CustomTask):
    """The level as a number, and the column as a class."""

    def loss(self, outputs, targets, images):
        level, column = outputs
        return F.mse_loss(level[:, 0], (targets[:, 0] - 300) / 40) + F.cross_entropy(column, targets[:, 1].long())

    def metric_of(self, outputs, targets, images):
        return (outputs[1].argmax(1) == targets[:, 1]).float()
