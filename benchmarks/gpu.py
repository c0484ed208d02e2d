"""What a search costs on a GPU: its steps against plain float training, and whole jobs.

    python -m benchmarks.gpu [--only steps|job|front|candidates|cifar ...] [--graphs] [--folder FOLDER]

One JSON object a line, each with the name of the card. Where torch finds no GPU it says so and measures nothing.

steps: milliseconds of a step of three networks in five modes at batch 64 and 1024, and their ratios to eager plain
float ("eager_ratio") and to plain float that is replayed as a CUDA graph ("graphed_ratio"), in turns, medians over
rounds; benchmarks.step_time says what is trained. "recorded_ms", "recorded_eager_ratio" and "recorded_graphed_ratio"
are those of our steps with train.graphs=true.
job: seconds of each phase of +experiment=mobilenet_mcu.
front: the same with five points.
candidates: candidates a second of a random search, with inherited weights, over the seconds of its search alone.
cifar: seconds of ResNet-8 on as many images as CIFAR-10 has, of random bytes, since no values change the time: 120
epochs of float, search and fine-tuning.
Jobs run in FOLDER, where those that are finished are not repeated; with --graphs they have train.graphs=true.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.searches import searched
from benchmarks.step_time import MODES, ROUND, ROUNDS, SHAPES, Ours, Plain, fastest_plain, ours, rounds_of
from benchmarks.timing import in_turns

BATCHES = (64, 1024)
WARMUP = 3  # steps before a capture
RECORDING = 30  # rounds in which steps are recorded
CANDIDATES = 64
MAIN = "+experiment=mobilenet_mcu"
JOBS = {
    "job": [MAIN],
    "front": [MAIN, "front.points=5"],
    "candidates": [MAIN, "strategy=random", f"strategy.trials={CANDIDATES}"],
    "cifar": [
        *("+experiment=resnet8_cifar10", "data=npz", "limits.epochs=120"),
        *("train.warmup.epochs=92", "train.finetune.epochs=18"),
    ],
}
CIFAR = {"train": 50_000, "test": 10_000}  # images of 3x32x32
Line = dict[str, Any]


def graphed(trainer: Plain) -> Callable[[], None]:
    """The step of a plain network, captured once as a CUDA graph, and replayed."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARMUP):
            trainer.step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    for optimizer in trainer.optimizers:
        optimizer.zero_grad(set_to_none=True)
    with torch.cuda.graph(graph):
        trainer.step()
    return graph.replay


def compared(name: str, mode: str, batch: int, device: torch.device) -> Line:
    """A step in one mode against a plain one. Only a GPU replays graphs."""
    (memory_format, base), other = fastest_plain(name, batch, device), ours(name, mode, batch, device)
    eager, own = (time / ROUND for time in in_turns(rounds_of(base), rounds_of(other), ROUNDS))
    line = {
        "network": name,
        "mode": mode,
        "batch": batch,
        "plain_format": memory_format,
        "plain_ms": round(eager, 3),
        "ours_ms": round(own, 3),
        "eager_ratio": round(own / eager, 3),
    }
    if device.type != "cuda":
        return line
    replay = graphed(base)

    def replays() -> None:
        for _ in range(ROUND):
            replay()
        torch.cuda.synchronize()

    replayed, own = (time / ROUND for time in in_turns(replays, rounds_of(other), ROUNDS))
    line |= {"graphed_ms": round(replayed, 3), "graphed_ratio": round(own / replayed, 3)}
    again, recorded = (time / ROUND for time in in_turns(replays, rounds_of(_recorded(name, mode, batch)), ROUNDS))
    return line | {
        "recorded_ms": round(recorded, 3),
        "recorded_eager_ratio": round(recorded / eager, 3),
        "recorded_graphed_ratio": round(recorded / again, 3),
    }


def _recorded(name: str, mode: str, batch: int) -> Ours:
    """With graphs, all of which have been recorded, but for those of branches that are hardly ever drawn."""
    made = ours(name, mode, batch, torch.device("cuda"), graphs=True)
    for _ in range(RECORDING * ROUND):
        made.step()
    return made


def steps(folder: Path) -> Iterator[Line]:
    for name in SHAPES:
        for mode in MODES:
            for batch in BATCHES:
                yield compared(name, mode, batch, torch.device("cuda"))


def job(folder: Path) -> Iterator[Line]:
    yield _run("job", folder)


def front(folder: Path) -> Iterator[Line]:
    yield _run("front", folder)


def candidates(folder: Path) -> Iterator[Line]:
    line = _run("candidates", folder)
    yield line | {"candidates_per_second": round(CANDIDATES / line["seconds"]["search"], 2)}


def cifar(folder: Path) -> Iterator[Line]:
    data = folder / "cifar.npz"
    made(data, CIFAR)
    yield _run("cifar", folder, [f"data.file={data.absolute()}"])


def made(path: Path, images: dict[str, int]) -> None:
    """Writes images of random bytes with random labels. The file is not written again."""
    if path.is_file():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    draws = np.random.default_rng(0)
    arrays = {f"x_{split}": draws.integers(0, 256, (count, 3, 32, 32), np.uint8) for split, count in images.items()}
    labels = {f"y_{split}": draws.integers(0, 10, count) for split, count in images.items()}
    np.savez(path, **arrays, **labels)


def _run(name: str, folder: Path, more: Sequence[str] = ()) -> Line:
    overrides = [*JOBS[name], *more, "train.device=cuda"]
    found = searched(folder / name, overrides)
    return {"overrides": overrides, "seconds": found.summary["seconds"], "accuracy": found.summary["accuracy"]}


PARTS: dict[str, Callable[[Path], Iterator[Line]]] = {
    "steps": steps,
    "job": job,
    "front": front,
    "candidates": candidates,
    "cifar": cifar,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--graphs", action="store_true", help="jobs have train.graphs=true")
    parser.add_argument("--folder", type=Path, default=Path("runs/gpu"))
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("benchmarks.gpu: torch finds no GPU here, so that nothing is measured. Run it where one is.")
    if arguments.graphs:
        for overrides in JOBS.values():
            overrides.append("train.graphs=true")
    for part in arguments.only:
        for line in PARTS[part](arguments.folder):
            print(
                json.dumps({"benchmark": "gpu", "part": part, "card": torch.cuda.get_device_name(), **line}), flush=True
            )


if __name__ == "__main__":
    main()
