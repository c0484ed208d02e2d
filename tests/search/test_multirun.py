"""Sweeps by Hydra: a folder a run, side by side or on a cluster's queue."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.search.small import write_stripes

ROOT = Path(__file__).parents[2]
KEYS = ["model=custom", "model._target_=tests.search.small.Small", "train.device=cpu"]
KEYS += ["train.warmup.epochs=1", "strategy.epochs=1", "train.finetune.epochs=1", "train.finetune.integer_epochs=1"]


LAUNCHERS = ["basic", *(pytest.param(name, marks=pytest.mark.slow) for name in ("joblib", "submitit_local"))]


def swept(folder: Path, launcher: str, *overrides: str) -> subprocess.CompletedProcess:
    if launcher != "basic":
        pytest.importorskip(f"hydra_plugins.hydra_{launcher.split('_')[0]}_launcher")
    data = write_stripes(folder / "d.npz", count=160)
    command = [sys.executable, "-m", "search", "-m", f"hydra/launcher={launcher}", "data=npz", f"data.file={data}"]
    return subprocess.run(
        [*command, *KEYS, "tensorboard=false", *overrides],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["basic", "joblib", "submitit_local"])
def test_every_run_of_a_sweep_has_a_folder_of_its_own(tmp_path, launcher):
    done = swept(tmp_path, launcher, "seed=0,1", "budgets.flash_bytes=600")
    assert done.returncode == 0, done.stdout + done.stderr
    summaries = [json.loads(path.read_text()) for path in tmp_path.glob("runs/experiment/*/summary.json")]
    assert sorted(summary["seed"] for summary in summaries) == [0, 1]


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_run_that_fails_ends_no_other_and_is_listed_at_the_end(tmp_path, launcher):
    done = swept(tmp_path, launcher, "seed=0,one", "budgets.flash_bytes=10,600", "name=swept")
    assert done.returncode == 1
    (summary,) = (json.loads(path.read_text()) for path in tmp_path.glob("runs/swept/*/summary.json"))
    assert summary["budgets"]["flash_bytes"]["limit"] == 600 and summary["seed"] == 0
    _, listed = done.stderr.split("picojoule: 3 of the 4 runs of this sweep failed:\n")
    assert "Traceback" not in done.stderr and len(re.findall(r"^  data=npz ", listed, re.MULTILINE)) == 3
    reasons = [
        r"seed=one budgets\.flash_bytes=10 name=swept\n    seed: Value 'one' of type",
        r"seed=one budgets\.flash_bytes=600 name=swept\n    seed: Value 'one' of type",
        r"seed=0 budgets\.flash_bytes=10 name=swept\n    budgets\.flash_bytes: 10 B cannot be met",
    ]
    assert all(re.search(reason, listed) for reason in reasons)


def test_a_sweep_of_which_nothing_can_be_composed_lists_all(tmp_path):
    done = swept(tmp_path, "basic", "seed=one,two")
    assert done.returncode == 1 and "picojoule: 2 of the 2 runs of this sweep failed:\n" in done.stderr
    assert not list(tmp_path.glob("runs/experiment"))


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_quiet_sweep_shows_the_folders_of_its_runs_alone(tmp_path, launcher):
    done = swept(tmp_path, launcher, "seed=0", "budgets.flash_bytes=600", "quiet=true")
    assert done.returncode == 0, done.stdout + done.stderr
    folders = [str(path.parent.relative_to(tmp_path)) for path in tmp_path.glob("runs/experiment/*/summary.json")]
    shown = [] if launcher == "submitit_local" else folders  # a queue keeps what its jobs write
    assert len(folders) == 1 and done.stdout.split() == shown and not done.stderr
