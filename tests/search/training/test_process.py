"""What a run needs of its process comes back to the caller as it was, also after an exception."""

import os
from contextlib import contextmanager

import pytest
import torch
from torch import distributed as group

from search import distributed
from search.settings.run import TrainSettings
from search.training.process import CUBLAS, process_for, seeded


class Broken(Exception):
    pass


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield before
    torch.set_num_threads(before)


def test_threads_are_those_of_the_settings_and_then_the_callers(threads):
    torch.set_num_threads(2)
    with pytest.raises(Broken), process_for(TrainSettings(device="cpu", threads=1)):
        assert torch.get_num_threads() == 1
        raise Broken
    assert torch.get_num_threads() == 2


def test_a_seed_gives_the_same_draws_and_the_caller_his_own_back():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    drawn = []
    for _ in range(2):
        with pytest.raises(Broken), seeded(0):
            drawn.append(torch.rand(3))
            raise Broken
    assert torch.equal(*drawn) and not torch.equal(drawn[0], expected)
    assert torch.equal(torch.rand(3), expected)


def test_draws_go_on_from_a_state():
    with seeded(0):
        torch.rand(3)
        state, expected = torch.get_rng_state(), torch.rand(3)
    with seeded(0, state):
        assert torch.equal(torch.rand(3), expected)


def recorded(calls, name):
    """A context manager that writes down when it is entered and left, and does nothing else."""

    @contextmanager
    def entered(*arguments):
        calls.append((name, *arguments))
        yield torch.device("cuda:1")
        calls.append((f"end of {name}",))

    return entered


@pytest.fixture
def cuda_1(monkeypatch):
    """A run takes cuda:1. The list of what is entered and left."""
    calls = []
    monkeypatch.setattr("search.training.process.taken", recorded(calls, "taken"))
    monkeypatch.setattr(torch.cuda, "device", recorded(calls, "current"))
    return calls


@pytest.mark.parametrize("before", [(False, False), (True, False), (True, True)])
def test_determinism_on_cuda_is_the_callers_again(monkeypatch, cuda_1, before):
    monkeypatch.delenv(CUBLAS, raising=False)
    flags = (torch.are_deterministic_algorithms_enabled, torch.is_deterministic_algorithms_warn_only_enabled)
    torch.use_deterministic_algorithms(before[0], warn_only=before[1])
    try:
        with pytest.raises(Broken), process_for(TrainSettings()):
            assert [flag() for flag in flags] == [True, True] and os.environ[CUBLAS] == ":4096:8"
            raise Broken
        assert tuple(flag() for flag in flags) == before and CUBLAS not in os.environ
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.fixture
def one_process_group(tmp_path):
    group.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    yield
    group.destroy_process_group()


def test_a_group_of_the_caller_serves_and_stays(one_process_group):
    with pytest.raises(Broken), distributed.joined(torch.device("cpu")):
        assert distributed.agreed(lambda: "the same") == "the same"
        distributed.leave()
        raise Broken
    assert group.is_initialized()


def test_a_process_that_left_counts_as_alone_until_the_run_is_over(one_process_group, monkeypatch):
    monkeypatch.setattr(group, "get_world_size", lambda: 2)
    with distributed.joined(torch.device("cpu")):
        assert distributed.world_size() == 2
        distributed.leave()
        assert distributed.world_size() == 1 and distributed.rank() == 0
        assert distributed.summed([1.0], torch.device("cpu")) == [1.0]
    assert distributed.world_size() == 2


def test_under_torchrun_the_device_is_current_before_a_group_is_made_and_both_end_with_the_run(monkeypatch, cuda_1):
    """NCCL sends objects by way of the current device: with one for all processes it waits for ever."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(group, "init_process_group", lambda backend: cuda_1.append(("group", backend)))
    monkeypatch.setattr(group, "destroy_process_group", lambda: cuda_1.append(("end of group",)))
    monkeypatch.setattr(group, "is_initialized", lambda: ("group", "nccl") in cuda_1)
    device = torch.device("cuda:1")
    with process_for(TrainSettings(device="cuda")) as found:
        assert found == device
        assert cuda_1 == [("taken", "cuda"), ("current", device), ("group", "nccl")]
    assert cuda_1[3:] == [("end of group",), ("end of current",), ("end of taken",)]


def test_without_torchrun_nothing_is_joined_and_the_device_is_current(cuda_1, monkeypatch):
    monkeypatch.setattr(group, "init_process_group", lambda backend: cuda_1.append(("group", backend)))
    with process_for(TrainSettings()):
        assert distributed.world_size() == 1
        assert cuda_1 == [("taken", "auto"), ("current", torch.device("cuda:1"))]
