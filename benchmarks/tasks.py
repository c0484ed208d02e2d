"""What a search reaches in tasks beside the classification of images, on data that are made here.

    python -m benchmarks.tasks
    python -m benchmarks.tasks --only pulses --seeds 0

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

import torch
from torch import nn

from benchmarks.robust_networks import TCN
from search.api import compress
from search.data.made import KINDS
from search.tasks import TASKS
from spaces.networks import NETWORKS

SHARES = (1 / 4, 1 / 16)
EPOCHS = ("train.warmup.epochs=30", "strategy.epochs=20", "train.finetune.epochs=20")


@dataclass(frozen=True)
class Case:
    """The network of a data set, and its task."""

    network: Callable[[], nn.Module]
    task: str
    overrides: tuple[str, ...] = ()


CASES = {
    "pulses": Case(lambda: TCN(4, 1, stride=2, blocks=5), "regression", ("train.warmup.lr=0.03",)),
    "machines": Case(lambda: NETWORKS["autoencoder"](features=320), "anomaly"),
    "marked": Case(lambda: NETWORKS["unet_1d"](in_channels=1, classes=3), "segmentation"),
}


def measured(name: str, share: float, seed: int, folder: Path) -> dict[str, Any]:
    """A run, and its line."""
    case = CASES[name]
    data = KINDS[name](0)
    torch.manual_seed(seed)
    network = case.network()
    overrides = [*EPOCHS, f"task={case.task}", f"seed={seed}", "quiet=true", "tensorboard=false", "train.threads=1"]
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
    layers = (nn.Linear, nn.Conv1d, nn.Conv2d)
    return sum(layer.weight.numel() for layer in network.modules() if isinstance(layer, layers))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--folder", type=Path, default=Path("runs/tasks"))
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name in arguments.only:
        for seed in arguments.seeds:
            for share in SHARES:
                print(json.dumps(measured(name, share, seed, arguments.folder)), flush=True)


if __name__ == "__main__":
    main()
