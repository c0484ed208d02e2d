"""Processes spread over the devices of a machine, of which there need to be none here: their number is made up."""

import os
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import pytest
import torch

from search.distributed import Local, local
from search.errors import UsageError
from search.training import devices
from search.training.devices import described, devices_for, taken

ROOT = Path(__file__).parents[3]
ALONE = Local(0, 1)
linux = pytest.mark.skipif(sys.platform != "linux", reason="abstract sockets are a part of Linux")


def cuda(*indices):
    return [torch.device("cuda", index) for index in indices]


def pretend(monkeypatch, uuids):
    """This process sees CUDA devices with these UUIDs."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(uuids))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(uuids))
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid=uuids[device.index], name="H100")
    )


@pytest.fixture
def uuids():
    """Of two devices. All processes of a machine see one another, so that each test has devices of its own."""
    return [f"{uuid4()}" for _ in range(2)]


@pytest.fixture
def two(monkeypatch, uuids):
    pretend(monkeypatch, uuids)


@pytest.mark.parametrize(
    "name, count, place, expected",
    [
        ("cpu", 0, ALONE, [torch.device("cpu")]),
        ("cpu", 4, Local(1, 2), [torch.device("cpu")]),
        ("auto", 0, ALONE, [torch.device("cpu")]),
        ("auto", 0, Local(1, 2), [torch.device("cpu")]),
        ("auto", 3, ALONE, cuda(0, 1, 2)),
        ("cuda", 3, ALONE, cuda(0, 1, 2)),
        ("cuda:1", 3, ALONE, cuda(1)),
        *(("auto", 8, Local(rank, 8), cuda(rank)) for rank in range(8)),
        ("cuda", 8, Local(3, 4), cuda(3)),
    ],
)
def test_the_devices_that_a_process_may_take(name, count, place, expected):
    assert devices_for(name, count, place) == expected


@pytest.mark.parametrize(
    "name, count, place, message",
    [
        ("cuda", 0, ALONE, r"train\.device 'cuda': this machine has no CUDA device\. Use 'auto' or 'cpu'"),
        ("cuda:0", 0, ALONE, r"train\.device 'cuda:0': this machine has no CUDA device"),
        ("cuda:2", 2, ALONE, r"train\.device 'cuda:2': this machine has 2 CUDA devices\. Use a lower number"),
        ("cuda:1", 2, Local(0, 2), r"'cuda:1': is one device, and torchrun started 2 processes .* Use 'cuda'"),
        *(
            ("auto", 2, Local(rank, 3), r"torchrun started 3 processes on this machine, which has 2 CUDA devices")
            for rank in range(3)  # all of them refuse, so that none waits for another
        ),
    ],
)
def test_devices_that_cannot_be_had_are_refused(name, count, place, message):
    with pytest.raises(UsageError, match=message):
        devices_for(name, count, place)


def test_torchrun_says_which_process_of_this_machine_this_is(monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert local() == ALONE
    monkeypatch.setenv("LOCAL_RANK", "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert local() == Local(2, 4)


def test_a_group_of_the_callers_keeps_the_device_that_is_current(monkeypatch, two):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    with taken("auto") as device:
        assert device == torch.device("cuda:1")


@linux
def test_runs_take_devices_one_by_one_and_share_them_evenly_where_there_are_more_runs(two):
    with ExitStack() as runs:
        for each in (1, 2, 3):
            for _ in range(2):
                runs.enter_context(taken("auto"))
            assert [len(devices._slots_in_use(device)) for device in cuda(0, 1)] == [each, each]
    assert not any(devices._slots_in_use(device) for device in cuda(0, 1))


@linux
def test_a_device_that_has_no_run_is_taken_before_one_that_has(two):
    first, second, third = taken("auto"), taken("auto"), taken("auto")
    assert [run.__enter__().index for run in (first, second, third)] == [0, 1, 0]
    for run in (first, second):
        run.__exit__(None, None, None)
    with taken("auto") as device:  # the third run is on cuda:0 in its second slot
        assert device.index == 1
    third.__exit__(None, None, None)


@linux
def test_a_device_that_was_named_is_taken_though_it_is_in_use_and_others_then_avoid_it(two):
    with taken("cuda:1") as one, taken("cuda:1") as same, taken("auto") as other:
        assert [one.index, same.index, other.index] == [1, 1, 0]


@linux
def test_devices_are_told_apart_by_what_they_are_and_not_by_their_numbers(monkeypatch, uuids):
    pretend(monkeypatch, uuids[:1])
    with taken("auto"):
        pretend(monkeypatch, uuids[1:])  # as with another CUDA_VISIBLE_DEVICES
        with taken("auto") as device:
            assert device.index == 0 and described(device) == "cuda:0 (H100)"
        pretend(monkeypatch, uuids[::-1])
        with taken("auto") as device:
            assert device.index == 0


@linux
def test_a_slot_that_another_process_was_quicker_to_take_is_left_to_it(monkeypatch, two):
    held = devices._held
    quicker = []

    def late(address):
        if not quicker:
            quicker.append(held(address))
        return held(address)

    monkeypatch.setattr(devices, "_held", late)
    with taken("auto") as device:
        assert device.index == 1
    quicker[0].close()


def test_where_slots_cannot_be_had_a_run_still_has_a_device(monkeypatch, two):
    monkeypatch.setattr(devices, "_held", lambda address: None)
    with taken("auto") as device:
        assert device.index == 0


@linux
def test_what_is_said_of_a_device(monkeypatch, two):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert described(torch.device("cpu")) == "cpu"
    with taken("cuda:1") as device:
        assert described(device) == "cuda:1 (H100)"
        with taken("cuda:1"):
            assert described(device) == "cuda:1 (H100, shared with 1 other run)"
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
            with taken("cuda:1"):
                said = "cuda:1 (H100, CUDA_VISIBLE_DEVICES=4,5, shared with 2 other runs)"
                assert described(device) == said
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert described(torch.device("cpu")) == "cpu (CUDA_VISIBLE_DEVICES is empty, which hides all GPUs)"


# A process that a launcher or a shell started: it takes a device, says so, and keeps it while its input is open.
RUN = """
import sys
import pytest
from search.training.devices import taken
from tests.search.training.test_devices import pretend

pretend(pytest.MonkeyPatch(), sys.argv[1:])
with taken("auto") as device:
    print(device.index, flush=True)
    sys.stdin.read()
"""


@linux
def test_processes_see_one_another_and_one_that_is_killed_holds_nothing(monkeypatch, uuids):
    command = [sys.executable, "-c", RUN, *uuids]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    runs = [
        subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    try:
        found = [int(run.stdout.readline()) for run in runs]
        assert sorted(Counter(found).values()) == [1, 2]
        pretend(monkeypatch, uuids)
        alone = next(run for run, index in zip(runs, found, strict=True) if found.count(index) == 1)
        alone.kill()
        alone.wait()
        with taken("auto") as device:
            assert found.count(device.index) == 1
    finally:
        for run in runs:
            run.kill()
            run.communicate()
