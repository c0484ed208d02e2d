"""What a run needs of its process comes back to the caller as it was, also after an exception."""

import os

import pytest
import torch
from torch import distributed as group

from search import distributed
from search.errors import UsageError
from search.settings.run import TrainSettings
from search.training.process import CUBLAS, process_for, seeded
from search.training.runtime import device_of


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


@pytest.mark.parametrize("before", [(False, False), (True, False), (True, True)])
def test_determinism_on_cuda_is_the_callers_again(monkeypatch, before):
    monkeypatch.setattr("search.training.process.device_of", lambda name: torch.device("cuda:0"))
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


def calls_of(monkeypatch, *functions):
    """Names of these functions, in the order in which they are called; none of them does anything."""
    calls = []
    for owner, name in functions:
        monkeypatch.setattr(owner, name, lambda *arguments, name=name: calls.append((name, *arguments)))
    return calls


def test_under_torchrun_the_device_is_current_before_a_group_is_made_and_both_end_with_the_run(monkeypatch):
    """NCCL sends objects by way of the current device: with one for all processes it waits for ever."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    made = (group, "init_process_group"), (group, "destroy_process_group")
    calls = calls_of(monkeypatch, (torch.cuda, "set_device"), *made)
    monkeypatch.setattr(group, "is_initialized", lambda: any(name == "init_process_group" for name, *_ in calls))
    device = torch.device("cuda:1")
    with pytest.raises(Broken), distributed.joined(device):
        assert calls == [("set_device", device), ("init_process_group", "nccl")]
        raise Broken
    assert calls[2:] == [("destroy_process_group",), ("set_device", 0)]


def test_without_torchrun_nothing_is_joined(monkeypatch):
    calls = calls_of(monkeypatch, (group, "init_process_group"), (torch.cuda, "set_device"))
    with distributed.joined(torch.device("cuda:0")):
        assert distributed.world_size() == 1
    assert not calls


def test_a_device_that_this_machine_lacks_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_of("auto") == torch.device("cpu")
    with pytest.raises(ValueError, match=r"train.device 'cuda:0': this machine has no CUDA device"):
        device_of("cuda")


def test_a_number_beyond_this_machines_devices_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device_of("cuda:1") == torch.device("cuda:1")
    with pytest.raises(UsageError, match=r"train\.device 'cuda:2': this machine has 2 CUDA devices\. Use a lower"):
        device_of("cuda:2")
