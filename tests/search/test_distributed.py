"""Two processes under torchrun find what one process finds on the same global batches."""

import json
import os
import subprocess
import sys

from spaces.architecture import Architecture
from tests.search.small import write_stripes

BRANCHED = "tests.search.test_branches.Branched"


def search(folder, data, launcher, *more):
    arguments = [
        *("-m", "search", "data=npz", f"data.file={data}", "model=custom", "model._target_=tests.search.small.Small"),
        *(f"folder={folder}", "space=joint", "tensorboard=false", "train.batch_size=32", "train.warmup.epochs=2"),
        *("train.warmup.lr=0.05", "strategy.epochs=6", "strategy.decision_lr=0.04", "train.finetune.epochs=2"),
        *("budgets.flash_bytes=500", "train.threads=1", "train.finetune.integer_epochs=1", "train.device=cpu"),
        *more,
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([*launcher, *arguments], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    architecture = Architecture.from_json((folder / "architecture.json").read_text())
    return architecture, json.loads((folder / "summary.json").read_text())


def test_two_processes_find_the_architecture_of_one(tmp_path):
    data = write_stripes(tmp_path / "stripes.npz")
    alone, _ = search(tmp_path / "one", data, [sys.executable])
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port=29511"]
    together, summary = search(tmp_path / "two", data, torchrun)
    assert together == alone
    assert len(set().union(*together.picks.values())) > 1  # something was decided
    assert summary["mismatches"]["numpy"] == 0 and summary["budgets"]["flash_bytes"]["met"]


def test_two_processes_try_whole_choices_as_one_does(tmp_path):
    """Kernels, activation precisions and branches learn from trials, whose losses all processes share."""
    data = write_stripes(tmp_path / "stripes.npz")
    more = (f"model._target_={BRANCHED}", "space.kernel_sizes=[1]", "space.activation_bits=[4,8]", "target=mpic")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port=29512"]
    together, summary = search(tmp_path / "two", data, torchrun, *more)
    assert {"body/branch", "stem.0/kernel", "stem.0/activation_bits"} <= together.picks.keys()
    assert summary["mismatches"]["numpy"] == 0 and summary["budgets"]["flash_bytes"]["met"]
