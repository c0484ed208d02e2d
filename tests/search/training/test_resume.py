"""A run that was cut short goes on to the same bytes, loses nothing, and names what of its folder is damaged."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from search import run as run_module
from search.config import read_config
from search.files.results import read_results
from search.strategies import SETTINGS
from search.training import checkpoint
from search.training.checkpoint import CheckpointError
from search.training.loop import PhaseRun
from search.training.optimizers import OWN
from tests.search.kills import Killed, killed_run, same_outputs
from tests.search.small import run, settings


@pytest.mark.parametrize("saves", range(1, 8))
def test_resume_after_a_kill_at_every_epoch_gives_the_same_bytes(done, more_data, tmp_path, saves):
    killed_run(tmp_path / "run", settings(more_data), saves)
    torch.manual_seed(12345)  # a new process would not share the old one's random state
    run(tmp_path / "run", settings(more_data))
    assert same_outputs(done[0], tmp_path / "run")


def test_a_run_that_goes_on_counts_the_seconds_of_both_processes(more_data, tmp_path):
    folder = tmp_path / "run"
    first = run(folder, settings(more_data))
    (line,), _ = read_results(folder / "results.jsonl")
    second = run(folder, settings(more_data))
    (again,), _ = read_results(folder / "results.jsonl")
    for phase in ("warmup", "search", "finetune"):
        assert second["seconds"][phase] == first["seconds"][phase]
    assert second["seconds"]["rest"] > 0
    assert again.seconds > first["seconds"]["finetune"] and line.seconds > first["seconds"]["finetune"]


def test_results_of_before_a_kill_stay_until_they_are_found_again(more_data, tmp_path, monkeypatch):
    chosen = replace(settings(more_data), budgets={}, strategy=SETTINGS["fixed"](weight_bits=[2, 4, 8]))
    run(tmp_path / "run", chosen)
    path, seen = tmp_path / "run/results.jsonl", []
    before, original = path.read_text().splitlines(), run_module.write_results
    monkeypatch.setattr(
        run_module, "write_results", lambda *a: (original(*a), seen.append(len(path.read_text().splitlines())))
    )
    run(tmp_path / "run", chosen)
    assert seen == [len(before)] * 3 == [3, 3, 3]


def test_resume_with_sampled_choices_gives_the_same_bytes(more_data, tmp_path):
    """What is only looked at may draw no random number."""
    chosen = settings(more_data)
    chosen.space.mode = "gumbel"
    run(tmp_path / "whole", chosen)
    killed_run(tmp_path / "run", chosen, saves=4)  # in the search
    run(tmp_path / "run", chosen)
    assert same_outputs(tmp_path / "whole", tmp_path / "run")


def test_a_run_resumes_whose_optimizers_were_saved_without_what_training_reads(done, more_data, tmp_path):
    """As earlier versions did."""
    killed_run(tmp_path / "run", settings(more_data), saves=4)  # in the search
    path = tmp_path / "run/checkpoints/search.pt"
    state = torch.load(path, weights_only=True)
    assert state["epoch"] > 0 and not state["finished"]
    for group in (group for optimizer in state["optimizers"] for group in optimizer["param_groups"]):
        for key in OWN:
            del group[key]
    checkpoint.save(path, state)
    run(tmp_path / "run", settings(more_data))
    assert same_outputs(done[0], tmp_path / "run")


@pytest.mark.parametrize("name, damage", [("config.yaml", lambda text: text[:40]), ("config.yaml", lambda text: "")])
def test_damaged_config_of_a_run_is_named(tmp_path, name, damage):
    text = "data:\n  name: npz\n  file: x.npz\nmodel: {_target_: a.b\n"
    (tmp_path / name).write_text(damage(text))
    with pytest.raises(ValueError, match=r"config.yaml is damaged"):
        read_config(tmp_path)


def test_process_killed_in_the_middle_of_an_epoch_resumes_from_the_command_line(more_data, tmp_path):
    folder = tmp_path / "run"
    command = [
        *(sys.executable, "-m", "search", "data=npz", f"data.file={more_data}", "model=custom"),
        *("model._target_=tests.search.small.Small", f"folder={folder}", "space=joint", "tensorboard=false"),
        *("train.batch_size=20", "train.warmup.epochs=4", "strategy.epochs=4", "train.finetune.epochs=4"),
        *("budgets.flash_bytes=500", "train.threads=1", "train.finetune.integer_epochs=1"),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    whole = [argument.replace(str(folder), str(tmp_path / "whole")) for argument in command]
    subprocess.run(whole, check=True, env=environment, capture_output=True)
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (folder / "checkpoints" / "search.pt").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    resumed = subprocess.run(
        [sys.executable, "-m", "search", f"resume={folder}"], env=environment, capture_output=True, text=True
    )
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert same_outputs(tmp_path / "whole", folder)


def test_damaged_checkpoint_is_named(more_data, tmp_path, monkeypatch):
    monkeypatch.setattr(PhaseRun, "run_epoch", lambda self: (_ for _ in ()).throw(Killed()))
    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "warmup.pt").write_bytes(b"PK\x03\x04 cut off")
    (tmp_path / "run" / "fingerprint.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"warmup\.pt: the checkpoint is damaged.*Delete it"):
        run(tmp_path / "run", settings(more_data))


def test_checkpoint_with_another_byte_is_refused(done, tmp_path):
    shutil.copytree(done[0] / "checkpoints", tmp_path / "checkpoints")
    path = tmp_path / "checkpoints" / "search.pt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"search\.pt: the checkpoint is damaged \(its checksum"):
        checkpoint.load(path)


def test_no_space_on_disk_keeps_the_old_checkpoint_and_says_so(more_data, tmp_path, monkeypatch):
    write = Path.write_bytes
    count = []

    def second_fails(path, content):
        count.append(1)
        if len(count) == 2:
            write(path, content[:100])
            raise OSError(28, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", second_fails)
    with pytest.raises(OSError, match=r"warmup\.pt: not written \(No space left on device\)"):
        run(tmp_path / "run", settings(more_data))
    files = sorted(p.name for p in (tmp_path / "run" / "checkpoints").iterdir())
    assert files == ["warmup.pt"]
    assert torch.load(tmp_path / "run" / "checkpoints" / "warmup.pt", weights_only=True)["epoch"] == 1
