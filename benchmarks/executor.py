"""Images a second of what runs integers on this computer, against the float network that they come from, run by torch.

    python -m benchmarks.executor

One JSON object a line. Backends: the NumPy executor, onnxruntime with the exact model and with the QDQ model, whose
layers it fuses to products of bytes ("onnx_qdq"), and the generated C by gcc -O3 -march=native ("c") and by gcc -O3
alone ("c_plain"). Torch has OMP_NUM_THREADS threads, or two; all others have one. Set it to 1 where other programs keep
a core busy: threads of torch that wait for each other then cost a hundred times what they compute. Each takes turns
with torch, batch by batch; the speed ratio is torch's median time over the other's. C runs one image at a time, and its
time is that of a loop in C. It takes turns with the QDQ model too: "qdq_ratio" is that one's median time over C's, both
in processor time, which other programs do not change much.
Memory is the peak of all that NumPy holds for the executor, its unpacked weights included, over the live tensors: peak
RAM of the program times the batch.
"""

import json
import os
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read when NumPy is imported

import numpy as np
import torch
from torch import nn

from benchmarks.timing import in_turns
from search.compilers import compiler
from search.deploy.backends import backend
from search.deploy.c.manifest import Manifest
from search.deploy.c.traced import Traced
from search.deploy.lower import lower
from search.errors import MissingTool
from search.integer.executor import Executor
from search.integer.program import Program
from spaces.networks import NETWORKS
from spaces.searchable import Options, searchable

THREADS = int(os.environ.get("OMP_NUM_THREADS", "2"))  # of torch
ROUNDS = 15
BATCHES = (1, 32)
SHAPES = {"mobilenet_v1": (3, 96, 96), "resnet8": (3, 32, 32), "ds_cnn": (1, 49, 10)}
MODE = "w8a8"
FLAGS = {"c": ("-O3", "-march=native"), "c_plain": ("-O3",)}
STEPS = 20  # of the QDQ model in a turn


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


def rivals(program: Program) -> Iterator[tuple[str, Callable[[np.ndarray], object]]]:
    """What runs a program in Python, of what is installed."""
    yield "numpy", Executor(program)
    try:
        backend("onnx")
    except MissingTool:
        return
    from search.deploy.onnx.model import OnnxNetwork, model_of, qdq_of

    yield "onnx", OnnxNetwork(model_of(program))
    yield "onnx_qdq", OnnxNetwork(qdq_of(program))


def compare(network: nn.Module, run: Callable[[np.ndarray], object], images: torch.Tensor) -> dict[str, float]:
    """Both on one batch of random images."""
    array = images.numpy()
    with torch.no_grad():
        before, after = in_turns(lambda: network(images), lambda: run(array), ROUNDS)
    return {"images_per_second": round(len(images) / after * 1e3, 1), "speed_ratio": round(before / after, 3)}


def processor_milliseconds(step: Callable[[], object], steps: int) -> float:
    """Of one of some steps, as C measures its own; one more comes before them."""
    step()
    begin = time.process_time()
    for _ in range(steps):
        step()
    return (time.process_time() - begin) / steps * 1e3


def of_c(
    network: nn.Module,
    program: Program,
    images: torch.Tensor,
    flags: Sequence[str],
    qdq: Callable[[np.ndarray], object] | None,
) -> dict[str, float]:
    """The C on the first image, in turns with torch, and with the QDQ model where onnxruntime is installed."""
    array = images.numpy()
    with TemporaryDirectory() as folder:
        file = backend("c").write(program, Path(folder))
        traced = Traced(Path(folder), Manifest.read(file), compiler(), flags)
        own, torch_times, qdq_times = [], [], []
        with torch.no_grad():
            for _ in range(ROUNDS):
                own.append(traced.seconds(array) * 1e3)
                torch_times.append(in_turns(lambda: network(images), lambda: None, 1)[0])
                if qdq is not None:
                    qdq_times.append(processor_milliseconds(lambda: qdq(array), STEPS))
    after = float(np.median(own))
    line = {
        "images_per_second": round(1e3 / after, 1),
        "speed_ratio": round(float(np.median(torch_times)) / after, 3),
    }
    return line | ({"qdq_ratio": round(float(np.median(qdq_times)) / after, 3)} if qdq_times else {})


def main() -> None:
    torch.set_num_threads(THREADS)
    for name, network, program in programs():
        row = {"benchmark": "executor", "network": name, "mode": MODE, "torch_threads": THREADS}
        for batch in BATCHES:
            images = torch.randn(batch, *program.tensors[program.inputs[0]].shape)
            runs = dict(rivals(program))
            for rival, run in runs.items():
                line = row | {"backend": rival, "batch": batch} | compare(network, run, images)
                line |= {"memory_ratio": round(memory_ratio(program, images.numpy()), 3)} if rival == "numpy" else {}
                print(json.dumps(line), flush=True)
            for rival, flags in FLAGS.items() if batch == 1 else ():
                line = row | {"backend": rival, "batch": 1}
                print(json.dumps(line | of_c(network, program, images, flags, runs.get("onnx_qdq"))), flush=True)


if __name__ == "__main__":
    main()
