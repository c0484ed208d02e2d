"""Runs whole jobs on the CPU and on the device in software, in a process of its own, for test_devices.py.

    python tests/laws/jobs_on_a_device.py [--recorded] FOLDER STRATEGY [STRATEGY ...]

A line of JSON for each strategy: "differing", the files of the run whose bytes differ. Where steps are recorded
(train.graphs), "replays", how often a recording of steps in which decisions learn was repeated.
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

from benchmarks.software_device import SoftwareDevice, SoftwareGraph
from search.api import compress
from search.data import Data, from_arrays
from search.training import process, step
from tests.laws.recorders import Counted

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
LONGER = ["strategy.epochs=8"]  # so that kinds of steps come often enough to be recorded
RECORDED = "--recorded"
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


def ran(strategy: str, folder: Path, *overrides: str) -> dict[str, bytes]:
    """The files of a job."""
    torch.manual_seed(0)
    own = [*SHORT, f"strategy={strategy}", *OWN.get(strategy, []), *overrides]
    compress(Net(), data(), {"flash_bytes": 700}, folder, own)
    return {name: (folder / name).read_bytes() for name in FILES}


def ran_there(strategy: str, folder: Path, *overrides: str) -> dict[str, bytes]:
    software = SoftwareDevice()

    @contextmanager
    def taken(name: str) -> Iterator[torch.device]:
        yield software.device

    with mock.patch.object(process, "taken", taken), software:
        return ran(strategy, folder, *overrides)


@contextmanager
def recording() -> Iterator[None]:
    """Inside it steps on the device in software are recorded as those on a GPU are."""
    with (
        mock.patch.object(step, "why_not_recorded", lambda device: ""),
        mock.patch.object(step, "CudaGraph", SoftwareGraph),
        mock.patch.object(step, "Recorder", Counted),
    ):
        yield


def compared(strategy: str, folder: Path) -> dict[str, object]:
    own, expected = (run(strategy, folder / run.__name__ / strategy) for run in (ran_there, ran))
    return {"strategy": strategy, "differing": [name for name in FILES if own[name] != expected[name]]}


def compared_recorded(strategy: str, folder: Path) -> dict[str, object]:
    """Both on the device."""
    before = Counted.replays
    with recording():
        own = ran_there(strategy, folder / "recorded" / strategy, "train.graphs=true", *LONGER)
    expected = ran_there(strategy, folder / "without" / strategy, *LONGER)
    differing = [name for name in FILES if own[name] != expected[name]]
    return {"strategy": strategy, "differing": differing, "replays": Counted.replays - before}


if __name__ == "__main__":
    folder, *strategies = [argument for argument in sys.argv[1:] if argument != RECORDED]
    for strategy in strategies:
        found = (compared_recorded if RECORDED in sys.argv else compared)(strategy, Path(folder))
        print(json.dumps(found), flush=True)
