"""Two processes under torchrun find what one process finds on the same global batches."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from spaces.architecture import Architecture
from tests.search.small import write_stripes

ALONE = (sys.executable,)
# A rendezvous of its own on a free port: test runs beside one another do not meet.
TOGETHER = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")

GRADIENT = ("strategy.epochs=3", "strategy.decision_lr=0.04", "budgets.flash_bytes=500")
# Kernels, activation precisions and branches are choices of a whole layer or tensor: they learn from options that are
# tried, and all processes must try the same ones and share what they see.
WHOLE_CHOICES = (
    *("model._target_=tests.search.test_branches.Branched", "space.kernel_sizes=[1]", "space.activation_bits=[4,8]"),
    *("target=mpic", "strategy.epochs=2"),
)


def search(folder: Path, data: Path, launcher: tuple[str, ...], more: tuple[str, ...]) -> Path:
    """The folder of a search that was run to its end by the processes of a launcher."""
    arguments = [
        *("-m", "search", "data=npz", f"data.file={data}", "model=custom", "model._target_=tests.search.small.Small"),
        *(f"folder={folder}", "space=joint", "tensorboard=false", "train.batch_size=32", "train.warmup.epochs=2"),
        *("train.warmup.lr=0.05", "train.finetune.epochs=2", "train.finetune.integer_epochs=1", "train.device=cpu"),
        "train.threads=1",
        *more,
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([*launcher, *arguments], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def architecture_of(folder: Path) -> Architecture:
    return Architecture.from_json((folder / "architecture.json").read_text())


def alike(one: Architecture, other: Architecture) -> float:
    """The share of groups for which both have the same option."""
    assert one.picks.keys() == other.picks.keys()
    same = [a == b for name, pick in one.picks.items() for a, b in zip(pick, other.picks[name], strict=True)]
    return sum(same) / len(same)


def summary_of(folder: Path) -> dict:
    return json.loads((folder / "summary.json").read_text())


def both(tmp_path: Path, *more: str) -> tuple[Path, Path]:
    """The folders of a search by one process, and of the same one by two."""
    data = write_stripes(tmp_path / "stripes.npz")
    return search(tmp_path / "one", data, ALONE, more), search(tmp_path / "two", data, TOGETHER, more)


def learnt(folder: Path) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """At the end of a search: the decisions' parameters, the Fisher information, and the losses of tried options."""
    state = torch.load(folder / "checkpoints" / "search.pt", weights_only=True)
    decisions = {name: value for name, value in state["space"].items() if name.endswith((".logits", ".shadow"))}
    return decisions, state["objective"]["fisher"]["squares"], state["objective"]["tried"]["values"]


def running_statistics(folder: Path) -> dict[str, Tensor]:
    """Of the norms of the network that was found, at the end of fine-tuning."""
    space = torch.load(folder / "checkpoints" / "finetune.pt", weights_only=True)["space"]
    return {name: value for name, value in space.items() if ".running_" in name}


def assert_near(found: dict[str, Tensor], expected: dict[str, Tensor], share: float) -> None:
    """Sums over two halves are rounded otherwise than sums over the whole; share: of the largest number of each."""
    assert found.keys() == expected.keys() and expected
    for name, values in expected.items():
        assert (found[name] - values).abs().max() <= share * values.abs().max(), name


def test_two_processes_find_the_architecture_of_one(tmp_path):
    alone, together = both(tmp_path, *GRADIENT)
    found = architecture_of(together)
    assert_near(learnt(together)[0], learnt(alone)[0], 0.01)  # later, rounding otherwise has grown: codes jump
    assert alike(found, architecture_of(alone)) > 0.95
    assert len(set().union(*found.picks.values())) > 1  # something was decided
    for summary in (summary_of(alone), summary_of(together)):
        assert summary["budgets"]["flash_bytes"]["met"] and summary["mismatches"]["numpy"] == 0
        assert summary["costs"]["flash_bytes"]["found"] > 0.95 * 500


@pytest.mark.slow
def test_two_processes_train_in_integers_as_one_does(tmp_path):
    alone, together = both(tmp_path, "strategy=fixed", "budgets.flash_bytes=2000")
    assert architecture_of(together) == architecture_of(alone)
    assert_near(running_statistics(together), running_statistics(alone), 0.1)  # training in integers moved them too


@pytest.mark.slow
def test_two_processes_learn_about_whole_choices_and_channels_what_one_learns(tmp_path):
    alone, together = both(tmp_path, *GRADIENT, *WHOLE_CHOICES)
    (decisions, squares, tried), (found, found_squares, _) = learnt(alone), learnt(together)
    assert_near(found, decisions, 0.03)
    assert_near(found_squares, squares, 0.25)
    assert all(tried[name].any() for name in ("body/branch", "stem.0/kernel", "stem.0/activation_bits"))
    assert alike(architecture_of(together), architecture_of(alone)) > 0.9
    assert summary_of(together)["mismatches"]["numpy"] == 0


OWN_GROUP = """
import sys
import numpy as np
import torch
from search.api import compress
from search.data import from_arrays
from tests.search.small import Small

torch.distributed.init_process_group("gloo")
torch.manual_seed(0)
summary = compress(Small(), from_arrays(dict(np.load(sys.argv[1]))), {"flash_bytes": 500}, sys.argv[2], sys.argv[3:])
together = torch.tensor([1.0, len(summary) > 0])
torch.distributed.all_reduce(together)
assert together.tolist() == [2.0, 1.0], together  # both are here, and the first has the summary
torch.distributed.destroy_process_group()
"""


REFUSED = """
import sys
from pathlib import Path
import numpy as np
import torch
from search import distributed
from search.api import compress
from search.data import from_arrays
from search.files.run_folders import RunFolderError
from tests.search.small import Small

class Odd(Exception):
    def __init__(self, first, second):
        super().__init__(f"{first} {second}")

def refused(expected, text, call):
    try:
        call()
    except expected as error:
        assert text in str(error), error
    else:
        raise AssertionError(text)

def raise_odd():
    raise Odd("one", "two")

torch.distributed.init_process_group("gloo")
first = torch.distributed.get_rank() == 0
refused(Odd if first else RuntimeError, "one two", lambda: distributed.agreed(raise_odd))
assert distributed.agreed(torch.distributed.get_rank) == 0
folder, data = Path(sys.argv[2]), from_arrays(dict(np.load(sys.argv[1])))
call = (Small(), data, {"flash_bytes": 500}, folder, ["tensorboard=false", "train.device=cpu"])
refused(RunFolderError, "not empty", lambda: compress(*call))
refused(RunFolderError, "seed was 7, is 0", lambda: compress(*call, resume=True))
torch.distributed.destroy_process_group()
"""


def test_what_the_first_process_refuses_all_refuse(tmp_path):
    data = write_stripes(tmp_path / "stripes.npz", count=160)
    (tmp_path / "mine.py").write_text(REFUSED)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("data: {name: arrays}\n")
    (tmp_path / "run" / "fingerprint.json").write_text('{"seed": 7}')
    command = [*TOGETHER, str(tmp_path / "mine.py"), str(data), str(tmp_path / "run")]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_process_group_of_the_callers_is_used_and_is_there_afterwards(tmp_path):
    data = write_stripes(tmp_path / "stripes.npz", count=160)
    (tmp_path / "mine.py").write_text(OWN_GROUP)
    settings = [
        *("train.warmup.epochs=1", "strategy.epochs=1", "train.finetune.epochs=1", "train.finetune.integer_epochs=1"),
        *("train.augment.flip=false", "tensorboard=false", "train.device=cpu", "train.batch_size=32"),
    ]
    command = [*TOGETHER, str(tmp_path / "mine.py"), str(data), str(tmp_path / "run"), *settings]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert summary_of(tmp_path / "run")["budgets"]["flash_bytes"]["met"]
