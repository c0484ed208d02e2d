"""Two processes under torchrun find what one process finds on the same global batches."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from spaces.architecture import Architecture
from tests.search.small import write_stripes

ALONE = (sys.executable,)
# A rendezvous of its own on a free port: test runs beside one another do not meet.
TOGETHER = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")

# Kernels, activation precisions and branches are choices of a whole layer or tensor: they learn from options that are
# tried, and all processes must try the same ones and share what they see.
WHOLE_CHOICES = (
    *("model._target_=tests.search.test_branches.Branched", "space.kernel_sizes=[1]", "space.activation_bits=[4,8]"),
    "target=mpic",
)


def search(folder: Path, data: Path, launcher: tuple[str, ...], more: tuple[str, ...]) -> Path:
    """The folder of a search that was run to its end by the processes of a launcher."""
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
    return folder


def architecture_of(folder: Path) -> Architecture:
    return Architecture.from_json((folder / "architecture.json").read_text())


def summary_of(folder: Path) -> dict:
    return json.loads((folder / "summary.json").read_text())


@pytest.mark.parametrize(
    "more, decided",
    [
        ((), {"conv1/bits", "conv2/bits"}),
        (WHOLE_CHOICES, {"body/branch", "stem.0/kernel", "stem.0/activation_bits"}),
    ],
    ids=["channels and precisions", "whole choices"],
)
def test_two_processes_find_what_one_finds(tmp_path, more, decided):
    data = write_stripes(tmp_path / "stripes.npz")
    alone, together = (search(tmp_path / n, data, by, more) for n, by in (("one", ALONE), ("two", TOGETHER)))
    found = architecture_of(together)
    assert found == architecture_of(alone)
    assert decided <= found.picks.keys()
    assert len(set().union(*found.picks.values())) > 1  # something was decided
    one, two = summary_of(alone), summary_of(together)
    assert two["costs"] == one["costs"] and two["budgets"] == one["budgets"]
    assert two["budgets"]["flash_bytes"]["met"] and two["mismatches"] == one["mismatches"]
    assert two["mismatches"]["numpy"] == 0
