"""The commands of each tutorial run, in its example's folder, at small size; and what it says of them is so."""

import json
import re
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
import torch
from safetensors.torch import load_file

from search.integer.program import Program
from spaces.space import Space
from tests.folders import EPOCHS, ROOT, blocks, in_folder

ANY_STRATEGY = [override for override in EPOCHS if "strategy" not in override]  # not all strategies have epochs
SMALL = {  # what follows a command, by its second word
    "make_windows.py": ["1"],
    "make_photos.py": ["0.4"],
    "trained_elsewhere.py": ["20"],
    "transfer.py": EPOCHS,
    "--config-dir=.": EPOCHS,
    "data=digits": EPOCHS,
    "sweep.sh": ["limits.epochs=4", *ANY_STRATEGY],
    "queue.sh": ["limits.epochs=4", *ANY_STRATEGY],
    "workers.py": ["strategy.trials=4", *ANY_STRATEGY],
}


def tutorial(name: str, folder: Path, fewer: Mapping[str, str] = MappingProxyType({}), only: str = "") -> str:
    """What the tutorial's commands print in a copy of its example, whose scripts say something fewer in its place.

    Args:
        only: the second word of the command that is run; "": all are.
    """
    shutil.copytree(ROOT / "examples" / name, folder)
    for script in folder.glob("*.sh"):
        for before, after in fewer.items():
            assert before in script.read_text()
            script.write_text(script.read_text().replace(before, after))
    text = (ROOT / f"docs/tutorials/{name}.md").read_text()
    lines = [shlex.split(line, comments=True) for block in blocks(text, "bash") for line in block.splitlines()]
    commands = [line for line in lines if line and line[0] in ("python", "picojoule", "bash")]
    assert len(commands) == sum(map(bool, lines)), "a command that this test does not know"
    chosen = [line for line in commands if only in ("", line[1])]
    assert chosen, f"no command of the tutorial is {only}"
    return "".join(in_folder(folder, *line, *SMALL.get(line[1], [])) for line in chosen)


def summary_of(folder: Path) -> dict:
    return json.loads((folder / "summary.json").read_text())


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "mine"


def test_windows_are_classified_as_the_sensor_gives_them(folder):
    printed = tutorial("windows", folder)
    summary = summary_of(folder / "runs/windows")
    (accuracy,) = re.findall(r"accuracy on 60 windows: ([\d.]+)", printed)
    assert float(accuracy) == round(summary["accuracy"]["integer"]["test"], 4)
    assert summary["budgets"]["flash_bytes"]["met"] and summary["input"]["shape"] == [100, 3]
    assert Program.load(folder / "runs/windows/program.safetensors").preprocessing.channels == "last"


def test_photos_are_classified_as_the_camera_gives_them_and_frozen_layers_stay(folder):
    printed = tutorial("photos", folder)
    found, stated = re.findall(r"on 36 photos: ([\d.]+); the run states ([\d.]+)", printed)[0]
    assert found == stated
    assert "frozen: features.0.0, features.0.1" in printed
    trained = load_file(folder / "photo_net.safetensors")
    space = Space.load(folder / "runs/photos/model.safetensors")
    kept = space.weights["features.0.0"].weight
    theirs = trained["features.0.0.weight"]
    assert len(kept) > 4 and all(any(torch.equal(one, other) for other in theirs) for one in kept)
    assert space.frozen() == ["features.0.0", "features.0.1"]


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")
def test_an_application_says_of_images_what_the_run_states(folder):
    printed = tutorial("board", folder)
    found, stated = re.findall(r"on 359 images: ([\d.]+); the run states ([\d.]+)", printed)[0]
    assert found == stated
    assert "c: 0 of " in printed and "C, " in printed
    certificate = json.loads((folder / "runs/digits/certificate.json").read_text())
    assert all(each.get("mismatches", 0) == 0 for each in certificate["backends"])
    named = re.findall(r"\$\{NETWORK\}/(\w+\.c)", (folder / "zephyr/CMakeLists.txt").read_text())
    assert named and all((folder / "runs/digits/c" / name).is_file() for name in named)


def test_a_sweep_has_a_run_for_each_combination_and_one_report(folder):
    printed = tutorial("sweep", folder, {"seed=0,1": "seed=0"})
    summaries = [summary_of(path) for path in (folder / "runs/sweep").iterdir()]
    assert sorted(summary["budgets"]["flash_bytes"]["limit"] for summary in summaries) == [1024, 1024, 2048, 2048]
    assert all(summary["budgets"]["flash_bytes"]["met"] for summary in summaries)
    page = (folder / "sweep.html").read_text()
    assert "magnitude" in page and "gradient" in page
    assert "budgets.flash_bytes" in printed  # of the comparison


@pytest.mark.slow
def test_a_queue_runs_each_run_of_a_sweep_as_a_job(folder):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="picojoule[slurm] is not installed")
    printed = tutorial("cluster", folder, only="queue.sh")
    summaries = [summary_of(path) for path in (folder / "runs/queued").iterdir()]
    assert sorted(summary["seed"] for summary in summaries) == [0, 1]
    assert re.search(r"^seed +[01] +[01]$", printed, re.MULTILINE)
    jobs = [*folder.glob("runs/multirun/*/.submitit/*/*_log.out")]
    assert len(jobs) == 2
    assert all("device cpu (CUDA_VISIBLE_DEVICES is empty, which hides all GPUs)" in job.read_text() for job in jobs)


@pytest.mark.slow
def test_workers_that_ray_starts_share_one_study(folder, monkeypatch):
    pytest.importorskip("ray", reason="picojoule[ray] is not installed; `make test-all` installs it")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    printed = tutorial("cluster", folder, only="workers.py")
    found = re.findall(r"runs/workers/\d+: (\d+) bytes, accuracy ([\d.]+)$", printed, re.MULTILINE)
    measured, workers = map(int, re.findall(r"(\d+) candidates by (\d+) workers", printed)[0])
    summaries = [summary_of(folder / f"runs/workers/{number}") for number in range(len(found))]
    assert [int(flash) for flash, _ in found] == [each["costs"]["flash_bytes"]["found"] for each in summaries]
    assert all(summary["budgets"]["flash_bytes"]["met"] for summary in summaries)
    assert len(found) >= 2 and 1 <= workers <= len(found)
    assert measured < 2 * 4  # one study of four candidates, and not one a worker
