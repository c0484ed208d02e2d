"""What a search reaches in tasks beside the classification of images: on data that are made here, speech and motion.

    python -m benchmarks.tasks
    python -m benchmarks.tasks --only pulses --seeds 0
    python -m benchmarks.tasks --only digits_crnn --spoken-digits FILE

Speech is the Free Spoken Digit Dataset from raw sound: the front end is that of integers, and who speaks in test is
heard nowhere else. Motion is that of the package seglearn, by subject. Cases whose data are not here are left out, and
a line says so.

One JSON object a line: the float network, the decided network in quantized floats, and the integers that are exported,
on test data, at a share of the flash that 8 bits take. Training is with one thread, so that lines are the same again. A
run that has ended is not repeated.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.robust_networks import TCN
from benchmarks.robust_signals import RATE, motion, raw_spoken_digits
from benchmarks.robust_sources import SourceMissing, Sources
from search.api import compress
from search.data.data import Data
from search.data.made import KINDS
from search.data.npz import from_arrays
from search.data.sound import FrontEndOptions
from search.tasks import TASKS
from spaces.networks import CRNN, DSCNN, NETWORKS

SHARES = (1 / 4, 1 / 16)
EPOCHS = (30, 20, 20)  # of warm-up, search and fine-tuning
LONG = (150, 60, 60)  # for the few recordings of speech


class FramesFirst(nn.Module):
    """A network that reads (N, 1, frames, rows), for features (N, 1, rows, frames)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.network(x.transpose(2, 3))
        return y


@dataclass(frozen=True)
class Case:
    """A network, its data and its task."""

    network: Callable[[], nn.Module]
    data: Callable[[Sources], Data]
    task: str = "classification"
    overrides: tuple[str, ...] = ()
    epochs: tuple[int, int, int] = EPOCHS


def made(kind: str) -> Callable[[Sources], Data]:
    return lambda sources: KINDS[kind](0)


def speech(kind: str, layout: str) -> Callable[[Sources], Data]:
    """Of 49 frames of 40 ms, as in arXiv 1711.07128: ten coefficients, or forty bands."""
    features = FrontEndOptions(kind=kind, layout=layout, frame_ms=40.0, hop_ms=20.0)
    return lambda sources: from_arrays(raw_spoken_digits(sources), rate=RATE, frontend=features)


def worn(sources: Sources) -> Data:
    return from_arrays(motion(sources, np.random.default_rng(0)), has_channels=True)


CASES = {
    "pulses": Case(lambda: TCN(4, 1, stride=2, blocks=5), made("pulses"), "regression", ("train.warmup.lr=0.01",)),
    "machines": Case(lambda: NETWORKS["autoencoder"](features=320), made("machines"), "anomaly"),
    "marked": Case(lambda: NETWORKS["unet_1d"](in_channels=1, classes=3), made("marked"), "segmentation"),
    "sounds": Case(lambda: CRNN(classes=5, rows=20), made("sounds"), "tagging"),
    "digits_ds_cnn": Case(lambda: FramesFirst(DSCNN(classes=10)), speech("mfcc", "image"), epochs=LONG),
    "digits_tcn": Case(lambda: TCN(40, 10), speech("log_mel", "sequence"), epochs=LONG),
    "digits_crnn": Case(lambda: CRNN(classes=10), speech("mfcc", "image"), epochs=LONG),
    "motion_tcn": Case(lambda: TCN(6, 7, stride=2), worn),
}


def measured(name: str, share: float, seed: int, folder: Path, data: Data) -> dict[str, Any]:
    """A run, and its line."""
    case = CASES[name]
    torch.manual_seed(seed)
    network = case.network()
    names = ("train.warmup.epochs", "strategy.epochs", "train.finetune.epochs")
    overrides = [
        *(f"{key}={count}" for key, count in zip(names, case.epochs, strict=True)),
        f"task={case.task}",
        f"seed={seed}",
        "quiet=true",
        "tensorboard=false",
        "train.threads=1",
    ]
    overrides += case.overrides
    first = next((each.parent for each in sorted(folder.glob(f"{name}_*_{seed}/summary.json"))), None)
    overrides += [f"train.warmup.source={first}"] if first is not None else []
    budget = {"flash_bytes": float(round(share * flash_of(network)))}
    own = folder / f"{name}_{round(1 / share)}_{seed}"
    done = own / "summary.json"
    summary = json.loads(done.read_text()) if done.is_file() else compress(network, data, budget, own, overrides)
    metric = TASKS[case.task].words.metric.name
    line = {"benchmark": "tasks", "data": name, "task": case.task, "seed": seed, "share": share, "metric": metric}
    line |= {stage: round(summary[metric][stage]["test"], 4) for stage in ("decided", "integer")}
    line["float"] = round(summary[metric]["float"]["test"], 4)
    if "numbers" in summary:
        line["mae"] = round(summary["numbers"]["test"]["mae"][0], 3)
    line |= {"flash_bytes": summary["costs"]["flash_bytes"]["found"], "mismatches": summary["mismatches"]["numpy"]}
    return line


def flash_of(network: nn.Module) -> int:
    """Bytes that the weights take with 8 bits."""
    return sum(each.numel() for each in network.parameters() if each.dim() > 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--folder", type=Path, default=Path("runs/tasks"))
    Sources.add_options(parser)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name in arguments.only:
        try:
            data = CASES[name].data(Sources.of(arguments))
        except SourceMissing as error:
            print(json.dumps({"benchmark": "tasks", "data": name, "left_out": str(error)}), flush=True)
            continue
        for seed in arguments.seeds:
            for share in SHARES:
                print(json.dumps(measured(name, share, seed, arguments.folder, data)), flush=True)


if __name__ == "__main__":
    main()
