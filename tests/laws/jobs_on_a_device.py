"""Runs whole jobs on the CPU and on the device in software, in a process of its own, for test_devices.py.

    python tests/laws/jobs_on_a_device.py FOLDER STRATEGY [STRATEGY ...]

A line of JSON for each strategy: "differing", the files of the run whose bytes differ.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from torch import nn

from benchmarks.software_device import SoftwareDevice
from search.api import compress
from search.data import Data, from_arrays
from search.training import process

SHORT = [
    *("train.warmup.epochs=1", "train.finetune.epochs=2", "train.finetune.integer_epochs=1", "train.batch_size=32"),
    *("train.threads=1", "quiet=true", "space.weight_bits=[0,2,4,8]"),
]
OWN = {
    "fixed": ["strategy.weight_bits=2"],
    "gradient": ["strategy.epochs=2", "space.activation_bits=[4,8]"],
    "random": ["strategy.trials=2"],
    "evolution": ["strategy.trials=3"],
}
FILES = ("architecture.json", "model.safetensors", "program.safetensors")


class Net(nn.Sequential):
    """With a ceiling and a table."""

    def __init__(self) -> None:
        stem = nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU6()
        body = nn.Conv2d(8, 12, 3), nn.BatchNorm2d(12), nn.Hardswish()
        super().__init__(*stem, *body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 4))


def data() -> Data:
    """Images in which the class is a brighter column."""
    images = np.random.default_rng(0).normal(size=(160, 1, 8, 8)).astype(np.float32)
    labels = np.arange(160) % 4
    images[np.arange(160), 0, :, 2 * labels] += 2
    return from_arrays({"x_train": images, "y_train": labels})


def ran(strategy: str, folder: Path) -> dict[str, bytes]:
    """The files of a job."""
    torch.manual_seed(0)
    compress(Net(), data(), {"flash_bytes": 700}, folder, [*SHORT, f"strategy={strategy}", *OWN.get(strategy, [])])
    return {name: (folder / name).read_bytes() for name in FILES}


def ran_there(strategy: str, folder: Path) -> dict[str, bytes]:
    software = SoftwareDevice()

    @contextmanager
    def taken(name: str) -> Iterator[torch.device]:
        yield software.device

    with mock.patch.object(process, "taken", taken), software:
        return ran(strategy, folder)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for strategy in sys.argv[2:]:
        own, expected = (run(strategy, folder / run.__name__ / strategy) for run in (ran_there, ran))
        differing = [name for name in FILES if own[name] != expected[name]]
        print(json.dumps({"strategy": strategy, "differing": differing}), flush=True)
