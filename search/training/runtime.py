"""Where a run takes place: its device, its folder, who watches it, what it has spent, and its batches."""

from dataclasses import dataclass
from pathlib import Path

import torch

from search.data.batches import Batches
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
        graphs: whether steps are recorded where the device is a GPU, see search.training.recorded.
    """

    device: torch.device
    folder: Path
    monitor: Monitor
    ledger: Ledger
    train: Batches
    val: Batches
    whole: Batches
    task: Task
    graphs: bool = False
