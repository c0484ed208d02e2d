"""Two runs at once in one folder would make a run that is neither: the second is refused by name."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from search.files.lock import held
from search.files.run_folders import LOCK_FILE, RunFolderError, refuse_taken
from tests.search.small import run, settings

HOLDING = """
import sys, time
from pathlib import Path
from search.files.lock import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_and_a_killed_one_holds_nothing(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, "-c", HOLDING, str(tmp_path)]
    with subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(RunFolderError, match=rf"process {other.pid} on .* works on its run\. Wait until"):
            held(tmp_path).__enter__()
        other.send_signal(signal.SIGKILL)
    with held(tmp_path):
        assert (tmp_path / LOCK_FILE).read_text().startswith(f"process {os.getpid()} on")


def test_a_run_that_goes_on_twice_at_once_is_refused_and_changes_nothing(done, more_data, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(done[0], folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != LOCK_FILE}
    with held(folder), pytest.raises(RunFolderError, match="works on its run"):
        run(folder, settings(more_data))
    assert {path: path.read_bytes() for path in before} == before
    assert len([path for path in folder.rglob("*") if path.is_file()]) == len(before) + 1


def test_a_failure_inside_is_no_failure_of_the_lock(tmp_path):
    with pytest.raises(OSError, match=r"^inside$"), held(tmp_path):
        raise OSError("inside")
    with held(tmp_path):
        pass


def test_a_file_system_without_locks_is_no_reason_not_to_run(tmp_path, monkeypatch):
    def none(file, operation):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("search.files.lock.fcntl.flock", none)
    with held(tmp_path):
        pass


def test_a_lock_and_files_that_were_not_finished_are_no_run(tmp_path):
    (tmp_path / LOCK_FILE).touch()
    (tmp_path / ".config.yaml.123.part").write_text("data:")
    refuse_taken(tmp_path)
    (tmp_path / "notes.part").touch()
    with pytest.raises(RunFolderError, match="not empty"):
        refuse_taken(tmp_path)
