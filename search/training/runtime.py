"""Where a run takes place: its device, its folder, who watches it, what it has spent, and its batches."""

import os
from dataclasses import dataclass
from pathlib import Path

import torch

from search.data.batches import Batches
from search.errors import UsageError
from search.monitor.events import Monitor
from search.tasks import Task
from search.training.ledger import Ledger


@dataclass(frozen=True)
class Runtime:
    """What all phases of a run share.

    Attributes:
        folder: of the run. Checkpoints are written below it.
        train, val: batches of training and validation data. Each process has its part of them.
        whole: training data as one process would see it, for statistics that all processes must share.
        task: what is trained for, and measured.
    """

    device: torch.device
    folder: Path
    monitor: Monitor
    ledger: Ledger
    train: Batches
    val: Batches
    whole: Batches
    task: Task


def device_of(name: str) -> torch.device:
    """The device of that name; "auto" is CUDA where there is one.

    Raises:
        UsageError: this machine lacks the device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":  # under torchrun each process has a device of its own
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"train.device '{name}': this machine has no CUDA device. Use 'auto' or 'cpu'.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise UsageError(f"train.device '{name}': this machine has {count} CUDA devices. Use a lower number.")
    return device
