"""Nothing that runs over batches waits for the device a batch at a time: counted, since it holds without a device too.

Where a routine goes over the same images in twice as many batches, Python reads as many values of tensors. And what is
done with a batch runs on the device "meta", of which nothing can be read, without a copy that the host waits for.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import torch

from benchmarks.waits import Waits
from search.data import Data
from search.data.batches import Batches
from search.strategies.problem import Problem
from search.training.ledger import Ledger

IMAGES, FEW, MANY = 160, 4, 8  # batches of the same images; a few are what statistics are taken of at most
META = torch.device("meta")


def reads_of(run: Callable[[], object]) -> Counter[str]:
    with Waits() as waits:
        run()
    return +waits.reads


def in_batches(data: Data, split: str, count: int) -> Batches:
    size = len(data.split(split)) // count
    return Batches(data, split, size, seed=0, shuffle=split == "train")


def with_batches(problem: Problem, data: Data, count: int) -> Problem:
    train, val = in_batches(data, "train", count), in_batches(data, "val", count)
    return replace(problem, runtime=replace(problem.runtime, train=train, whole=train, val=val, ledger=Ledger()))
