"""Images a second and memory of the NumPy executor, against the float network it was lowered from, run by torch.

    python -m benchmarks.executor

One JSON object a line. Torch has two threads, the executor one, which was faster than two. They take
turns, batch by batch; the speed ratio is torch's median time over the executor's. Memory is the peak of all that NumPy
holds for the executor, the unpacked weights included, over the live tensors: peak RAM of the program times the batch.
"""

import json
import os
import tracemalloc
from collections.abc import Iterator

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read when NumPy is imported

import numpy as np
import torch
from torch import nn

from benchmarks.timing import in_turns
from search.deploy.lower import lower
from search.integer.executor import Executor
from search.integer.program import Program
from spaces.networks import NETWORKS
from spaces.searchable import Options, searchable

THREADS = 2
ROUNDS = 15
BATCHES = (1, 32)
SHAPES = {"mobilenet_v1": (3, 96, 96), "resnet8": (3, 32, 32), "ds_cnn": (1, 49, 10)}
MODE = "w8a8"


def programs() -> Iterator[tuple[str, nn.Module, Program]]:
    """Each network in float, and as integers of 8 bits; untrained, for values do not change the time."""
    for name, shape in SHAPES.items():
        torch.manual_seed(0)
        images = torch.randn(8, *shape)
        network = NETWORKS[name](in_channels=shape[0])
        space = searchable(network, images, Options(weight_bits=(8,)))
        space.calibrate([images])
        yield name, network.eval(), lower(space.eval().decide())


def memory_ratio(program: Program, images: np.ndarray) -> float:
    """Peak bytes of preparing and running the executor, over the bytes of the live tensors."""
    tracemalloc.start()
    Executor(program)(images)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / (program.peak_ram_bytes() * len(images))


def compare(network: nn.Module, program: Program, batch: int) -> dict[str, float]:
    """Both on one batch of random images."""
    images = torch.randn(batch, *program.tensors[program.inputs[0]].shape)
    executor, array = Executor(program), images.numpy()
    with torch.no_grad():
        before, after = in_turns(lambda: network(images), lambda: executor(array), ROUNDS)
    return {
        "images_per_second": round(batch / after * 1e3, 1),
        "speed_ratio": round(before / after, 3),
        "memory_ratio": round(memory_ratio(program, array), 3),
    }


def main() -> None:
    torch.set_num_threads(THREADS)
    for name, network, program in programs():
        for batch in BATCHES:
            row = {"benchmark": "executor", "network": name, "mode": MODE, "backend": "numpy", "batch": batch}
            print(json.dumps(row | compare(network, program, batch)), flush=True)


if __name__ == "__main__":
    main()
