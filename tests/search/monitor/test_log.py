"""The log of a run: lines with times, in one file over all processes that worked on the run."""

import re
import shutil

import pytest

from search.errors import UsageError
from search.monitor.log import LOG_FILE, LogMonitor
from search.tasks.class_words import ClassWords
from search.training.checkpoint import CheckpointError
from tests.search.small import run, settings

STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d")
WARNING = {"name": "at_chance", "seen": "It is seen.", "cause": "It is caused.", "advice": "train.x=1."}


def texts(path):
    """The lines without their times, which all of them have."""
    lines = path.read_text().splitlines()
    assert all(STAMP.match(line) for line in lines)
    return [STAMP.sub("", line).strip() for line in lines]


def test_notes_and_warnings_are_appended_with_times_and_half_a_line_is_ended(tmp_path):
    path = tmp_path / LOG_FILE
    monitor = LogMonitor(path, ClassWords())
    monitor.note("two\nlines")
    monitor.close({"warnings": [WARNING], "folder": "runs/a"})
    before = texts(path)
    assert before[:2] == ["two", "lines"] and before[3] == "WARNING       at_chance"
    with path.open("a") as file:
        file.write("2026-01-31T12:00:00+01:00  half of a")
    LogMonitor(path, ClassWords()).note("again")
    assert texts(path) == [*before, "half of a", "again"]


def test_what_stopped_a_run_stands_at_the_end_without_its_password(tmp_path):
    monitor = LogMonitor(tmp_path / LOG_FILE, ClassWords())
    try:
        raise UsageError("postgresql://me:secret@host/db: no")
    except UsageError:
        monitor.close({})
    assert texts(tmp_path / LOG_FILE) == ["stopped by UsageError: postgresql://me:***@host/db: no"]


def test_a_run_that_succeeds_while_its_caller_handles_an_error_is_not_stopped(tmp_path):
    monitor = LogMonitor(tmp_path / LOG_FILE, ClassWords())
    try:
        raise UsageError("of the caller")
    except UsageError:
        monitor.close({"folder": "runs/a"})
    assert "of the caller" not in (tmp_path / LOG_FILE).read_text()


def test_a_run_has_its_notes_epochs_and_end_in_the_log_and_goes_on_there(done, more_data, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(done[0], folder)
    first = texts(folder / LOG_FILE)
    assert first[0].startswith("small: npz, budgets: flash_bytes 500")
    assert any(line.startswith("warmup epoch 2/2  train loss") for line in first)
    assert any(line.startswith("run folder") for line in first)
    run(folder, settings(more_data))
    (folder / "checkpoints/warmup.pt").write_bytes(b"damaged")
    with pytest.raises(CheckpointError):
        run(folder, settings(more_data))
    both = texts(folder / LOG_FILE)
    assert both[: len(first)] == first and sum(line.startswith("small: npz") for line in both) == 2


def test_every_part_of_a_run_has_its_seconds_and_all_of_them_are_shown(done):
    seconds = done[1]["seconds"]
    parts = ["prepare", "warmup", "calibrate", "search", "decide", "finetune"]
    assert list(seconds) == [*parts, "lower", "verify", "measure", "export", "report", "rest", "total"]
    assert all(value >= 0 for value in seconds.values())
    assert seconds["total"] == pytest.approx(sum(value for name, value in seconds.items() if name != "total"))
    shown = next(line for line in texts(done[0] / LOG_FILE) if line.startswith("seconds"))
    assert all(f"{name} " in shown for name in seconds)


def test_a_quiet_run_says_its_folder_alone_and_logs_all(data, tmp_path, capsys):
    chosen = settings(data, "fixed", quiet=True)
    run(tmp_path / "run", chosen)
    shown = capsys.readouterr()
    assert shown.out == f"{tmp_path}/run\n" and not shown.err
    assert any(line.startswith("finetune epoch 3/3") for line in texts(tmp_path / "run" / LOG_FILE))
