"""Sweeps by Hydra: a folder a run, side by side or on a cluster's queue."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.search.small import write_stripes

ROOT = Path(__file__).parents[2]
KEYS = ["model=custom", "model._target_=tests.search.small.Small", "budgets.flash_bytes=600", "train.device=cpu"]
KEYS += ["train.warmup.epochs=1", "strategy.epochs=1", "train.finetune.epochs=1", "train.finetune.integer_epochs=1"]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["basic", "joblib", "submitit_local"])
def test_every_run_of_a_sweep_has_a_folder_of_its_own(tmp_path, launcher):
    if launcher != "basic":
        pytest.importorskip(f"hydra_plugins.hydra_{launcher.split('_')[0]}_launcher")
    data = write_stripes(tmp_path / "d.npz", count=160)
    command = [sys.executable, "-m", "search", "-m", f"hydra/launcher={launcher}", "data=npz", f"data.file={data}"]
    done = subprocess.run(
        [*command, *KEYS, "tensorboard=false", "seed=0,1"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    summaries = [json.loads(path.read_text()) for path in tmp_path.glob("runs/experiment/*/summary.json")]
    assert sorted(summary["seed"] for summary in summaries) == [0, 1]
