"""The epochs of a run on disk: read back whole, none twice after a kill, what is damaged named."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from search.monitor.events import EpochEnd
from search.monitor.history import HISTORY_FILE, HistoryMonitor, read_history
from search.training.loop import PhaseRun
from tests.search.kills import Killed, killed
from tests.search.small import run, settings, write_stripes


def end(epoch: int, loss: float = 1.0) -> EpochEnd:
    scalars = {"loss/train": loss, "cost/flash_bytes": 1000.0 - epoch}
    return EpochEnd("search", epoch, 5, epoch, scalars, {"stem": {8: 3, 4: epoch, 0: 1}}, {"stem.gate": [0.5, -0.25]})


def write(path: Path, ends: list[EpochEnd], first_epoch: int = 0) -> None:
    monitor = HistoryMonitor(path, first_epoch)
    for each in ends:
        monitor.epoch(each)
    monitor.close({})


@pytest.fixture
def path(tmp_path):
    write(tmp_path / "run" / HISTORY_FILE, [end(epoch) for epoch in range(5)])
    return tmp_path / "run" / HISTORY_FILE


def test_epochs_survive_their_file(path):
    assert read_history(path) == ([end(epoch) for epoch in range(5)], [])


def test_an_epoch_is_on_disk_before_the_next(tmp_path):
    monitor = HistoryMonitor(tmp_path / HISTORY_FILE)
    for epoch in range(3):
        monitor.epoch(end(epoch))
        assert len((tmp_path / HISTORY_FILE).read_text().splitlines()) == epoch + 1


def test_shadow_values_are_kept_to_four_digits(tmp_path):
    write(tmp_path / HISTORY_FILE, [replace(end(0), gates={"g": [0.123456789]})])
    (read,), _ = read_history(tmp_path / HISTORY_FILE)
    assert read.gates == {"g": [0.1235]}


@pytest.mark.parametrize("first_epoch", [0, 3, 5])
def test_a_resumed_run_replaces_the_epochs_that_it_does_again(path, first_epoch):
    write(path, [end(epoch, loss=8.0) for epoch in range(first_epoch, 5)], first_epoch)
    losses = [each.scalars["loss/train"] for each in read_history(path)[0]]
    assert losses == [1.0] * first_epoch + [8.0] * (5 - first_epoch)


def test_a_last_line_cut_short_by_a_kill_does_no_harm(path):
    path.write_text(path.read_text()[:-9])
    write(path, [end(4)], first_epoch=4)
    assert read_history(path) == ([end(epoch) for epoch in range(5)], [])


@pytest.mark.parametrize(
    "damage, said",
    [
        (lambda line: line[:30], "is no JSON"),
        (lambda line: "[1, 2]", r"is \[1, 2\], not an object"),
        (lambda line: "{}", "is no epoch: phase is missing; epoch is missing"),
        (
            lambda line: json.dumps(json.loads(line) | {"epoch": "second"}),
            "is no epoch: epoch is 'second', not a whole",
        ),
        (lambda line: json.dumps(json.loads(line) | {"scalars": {"loss": "low"}}), "scalars is {'loss': 'low'}, not"),
        (lambda line: json.dumps(json.loads(line) | {"gates": {"stem.gate": 3}}), "gates is {'stem.gate': 3}, not"),
        (lambda line: json.dumps(json.loads(line) | {"bits": {"stem": {"many": 1}}}), "bits are no counts by width"),
    ],
)
def test_a_damaged_line_is_named_and_the_rest_is_read(path, damage, said):
    lines = path.read_text().splitlines()
    lines[1] = damage(lines[1])
    path.write_text("\n".join(lines) + "\n")
    ends, (fault,) = read_history(path)
    assert [each.epoch for each in ends] == [0, 2, 3, 4]
    with pytest.raises(ValueError, match=rf"{path}, line 2: .*{said}"):
        raise ValueError(fault)


def test_no_file_is_an_error_that_says_what_writes_it(tmp_path):
    with pytest.raises(ValueError, match=r"no such file. A run writes history.jsonl"):
        read_history(tmp_path / HISTORY_FILE)


@pytest.mark.parametrize("epochs", [1, 4, 8])
def test_a_run_that_is_killed_and_resumed_leaves_every_epoch_once(tmp_path, epochs):
    """Killed while an epoch is under way: what it had told before is done, what it tells later new."""
    chosen = settings(write_stripes(tmp_path / "d.npz"))
    with killed(PhaseRun, "run_epoch", at=(epochs,)), pytest.raises(Killed):
        run(tmp_path / "run", chosen)
    run(tmp_path / "run", chosen)
    ends, faults = read_history(tmp_path / "run" / HISTORY_FILE)
    assert not faults and [each.global_epoch for each in ends] == list(range(9))
    assert [each.phase for each in ends] == ["warmup"] * 2 + ["search"] * 4 + ["finetune"] * 3
    assert ends[2].bits["conv1"].keys() == {0, 2, 4, 8} and len(ends[2].gates["conv1/channels"]) == 8
