"""A kill between any two writes of a run leaves a folder that starts or goes on, to the same bytes."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from search import atomic
from search.api import compress
from search.data import from_arrays
from search.files.run_folders import RunFolderError
from search.monitor.history import HistoryMonitor
from tests.search.kills import Killed, same_outputs
from tests.search.small import Small

BUDGETS = {"flash_bytes": 500}
SHORT = [
    *("train.warmup.epochs=1", "strategy.epochs=2", "train.finetune.epochs=1", "train.finetune.integer_epochs=1"),
    *("train.batch_size=20", "tensorboard=false", "train.device=cpu", "train.threads=1"),
]


@pytest.fixture(scope="module")
def arguments(data):
    torch.manual_seed(0)
    return Small(), from_arrays(dict(np.load(data))), BUDGETS


@pytest.fixture(scope="module")
def whole(arguments, tmp_path_factory):
    """Folder of a run, and how many files it renamed into place."""
    folder, count = tmp_path_factory.mktemp("whole") / "run", []
    replace = os.replace
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(atomic.os, "replace", lambda *paths: (count.append(paths), replace(*paths)))
        compress(*arguments, folder, SHORT)
    return folder, len(count)


def killed_before(number, arguments, folder):
    """A run that is killed when its file of that number is written and not in place yet. Nothing is cleared up."""
    replace, unlink, count = os.replace, Path.unlink, []

    def counted(*paths):
        count.append(paths)
        if len(count) >= number:
            raise Killed
        replace(*paths)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(atomic.os, "replace", counted)
        patched.setattr(Path, "unlink", lambda self, **how: None if len(count) >= number else unlink(self, **how))
        with pytest.raises(Killed):
            compress(*arguments, folder, SHORT)


def gone_on_with(arguments, folder):
    """Whether the run could go on; otherwise it was started in the same folder. One of both has to do."""
    try:
        compress(*arguments, folder, SHORT, resume=True)
    except RunFolderError as error:
        assert "no run has begun" in str(error)
        compress(*arguments, folder, SHORT)
        return False
    return True


def test_kills_around_the_first_and_the_last_files(arguments, whole, tmp_path):
    went_on = []
    for number in (1, 2, 3, 4, whole[1] - 1, whole[1]):
        folder = tmp_path / str(number) / "run"
        killed_before(number, arguments, folder)
        went_on.append(gone_on_with(arguments, folder))
        assert same_outputs(whole[0], folder), number
        assert not list(folder.rglob("*.part"))
    assert went_on == [False, *[True] * 5]


@pytest.mark.slow
def test_kills_around_every_file(arguments, whole, tmp_path):
    for number in range(1, whole[1] + 1):
        folder = tmp_path / str(number) / "run"
        killed_before(number, arguments, folder)
        gone_on_with(arguments, folder)
        assert same_outputs(whole[0], folder), number


@pytest.mark.parametrize("length", [0, 1, 40])
def test_a_kill_in_the_middle_of_a_line_of_the_history(arguments, whole, tmp_path, length):
    def partly(self, end):
        with self._path.open("a") as file:
            file.write('{"phase": "warmup", "epoch": 0, "epochs": 1, "scalars"'[:length])
        raise Killed

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(HistoryMonitor, "epoch", partly)
        with pytest.raises(Killed):
            compress(*arguments, tmp_path / "run", SHORT)
    assert gone_on_with(arguments, tmp_path / "run") and same_outputs(whole[0], tmp_path / "run")
    assert (tmp_path / "run/history.jsonl").read_text() == (whole[0] / "history.jsonl").read_text()
