"""A run that is stopped by a signal, and commands that ask for nothing: one line that says what to do."""

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


def begun(folder, *arguments):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "search", *arguments]
    return subprocess.Popen(
        command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


@pytest.mark.parametrize(
    ("number", "name"),
    [pytest.param(signal.SIGINT, "Ctrl-C", marks=pytest.mark.slow), (signal.SIGTERM, "SIGTERM")],
)
def test_a_run_that_a_signal_stops_names_the_command_that_goes_on(tmp_path, data, number, name):
    short = ("strategy.epochs=1", "train.finetune.epochs=1", "train.finetune.integer_epochs=1", "tensorboard=false")
    model = ("model=custom", "model._target_=tests.search.small.Small", "train.batch_size=20", "train.device=cpu")
    keys = ("data=npz", f"data.file={data}", *model, *short, "folder=my run", "budgets.flash_bytes=700")
    with begun(tmp_path, *keys) as run:
        for line in run.stdout:
            if line.startswith("warmup epoch 2"):
                run.send_signal(number)
        said = run.stderr.read()
    assert run.returncode == 128 + number
    assert said.splitlines()[-1] == f"picojoule: stopped by {name}. Go on with: python -m search 'resume=my run'"
    assert "Traceback" not in said
    (argument,) = shlex.split(re.search(r"python -m search (.*)$", said).group(1))
    again = begun(tmp_path, argument)
    out, err = again.communicate()
    assert again.returncode == 0, err
    assert (tmp_path / "my run" / "summary.json").is_file() and "warmup epoch 1/" not in out


def test_a_quiet_command_prints_the_folder_alone_and_may_go_on_quietly(tmp_path, data):
    with np.load(data) as arrays:
        np.savez(tmp_path / "d.npz", x_train=arrays["x_train"], y_train=arrays["y_train"])  # the rest is carved out
    none = ("train.warmup.epochs=0", "train.finetune.epochs=0", "train.finetune.integer_epochs=0", "tensorboard=false")
    model = ("model=custom", "model._target_=tests.search.small.Small", "strategy=fixed", "train.device=cpu")
    for arguments in (("data=npz", "data.file=d.npz", *model, *none, "folder=run"), ("resume=run",)):
        out, err = begun(tmp_path, *arguments, "quiet=true").communicate()
        assert (out, err) == ("run\n", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((), "nothing is asked for"), (("resume=",), "resume: names no folder")],
)
def test_a_command_that_asks_for_nothing_says_what_to_ask_for(tmp_path, arguments, message):
    done = begun(tmp_path, *arguments)
    out, err = done.communicate()
    assert done.returncode == 1 and not out
    assert err.startswith(f"picojoule: {message}") and len(err.splitlines()) == 1 and "resume=runs/NAME/TIME" in err
    assert not list(tmp_path.iterdir())
