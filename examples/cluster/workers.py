"""Workers that Ray starts search one study together, each on a GPU of its own where there are any.

    python workers.py [OVERRIDES]

It prints what each worker found, and how many candidates all of them have measured. It needs Ray and scikit-learn.
"""

import sys
from pathlib import Path
from typing import Any

import optuna
import ray
import torch
from torch import nn

from search.api import compress
from search.data.digits import DigitsOptions, load_digits

WORKERS = 2  # where there are no GPUs
STORAGE = f"sqlite:///{Path('study.db').resolve()}"
STUDY = ["strategy=tpe", "strategy.trials=40", f"strategy.storage={STORAGE}", "strategy.study=digits"]
RUN = ["train.warmup.epochs=10", "train.finetune.epochs=10", "quiet=true"]  # each run's run.log says what it does


# --8<-- [start:worker]
def network() -> nn.Module:
    """All workers begin with the same weights, since a study is of one float network."""
    torch.manual_seed(0)
    stem = nn.Sequential(nn.Conv2d(1, 16, 3, 2), nn.BatchNorm2d(16), nn.ReLU())
    body = nn.Sequential(nn.Conv2d(16, 16, 3, 1, 1), nn.BatchNorm2d(16), nn.ReLU())
    return nn.Sequential(stem, body, nn.Flatten(), nn.Linear(144, 10))


def work(folder: str, overrides: list[str]) -> dict[str, Any]:
    """What summary.json of this worker's run holds. Ray runs this in a process of its own."""
    return compress(network(), load_digits(DigitsOptions()), {"flash_bytes": 2048}, folder, overrides)


# --8<-- [end:worker]


# --8<-- [start:main]
def main(overrides: list[str]) -> None:
    ray.init()  # this machine, or the cluster that RAY_ADDRESS names
    gpus = int(ray.cluster_resources().get("GPU", 0))
    task = ray.remote(num_cpus=1, num_gpus=min(gpus, 1))(work)
    folders = [str(Path(f"runs/workers/{number}").resolve()) for number in range(gpus or WORKERS)]
    summaries = ray.get([task.remote(folder, [*STUDY, *RUN, *overrides]) for folder in folders])
    for folder, summary in zip(folders, summaries, strict=True):
        accuracy, flash = summary["accuracy"]["integer"]["test"], summary["costs"]["flash_bytes"]["found"]
        print(f"{folder}: {flash} bytes, accuracy {accuracy:.3f}")
    study = optuna.load_study(study_name="digits", storage=STORAGE)
    measured = study.get_trials(states=[optuna.trial.TrialState.COMPLETE])
    print(f"{len(measured)} candidates by {len({trial.user_attrs['folder'] for trial in measured})} workers")


# --8<-- [end:main]


if __name__ == "__main__":
    main(sys.argv[1:])
