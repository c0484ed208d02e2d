"""What a run sets in the process that it takes place in. All of it is given back to the caller as it was."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor

from search import distributed
from search.settings.run import TrainSettings
from search.training.devices import taken

CUBLAS = "CUBLAS_WORKSPACE_CONFIG"  # without it cuBLAS may sum in another order each time


@contextmanager
def process_for(train: TrainSettings) -> Iterator[torch.device]:
    """Inside it the process has the threads that are set, is deterministic, and is in torchrun's group if there is one.

    Torch computes there as it does by default, whatever the caller has set for his own code. A CUDA device is the
    current one, so that what says "cuda" means it, in a model or a task of the user's too.

    Yields:
        The device to run on.

    Raises:
        UsageError: this machine lacks the device.
    """
    with (
        taken(train.device) as device,
        _current(device),
        distributed.joined(device),
        _threads(train.threads),
        _deterministic(device),
        _by_default(device),
    ):
        yield device


def _current(device: torch.device) -> AbstractContextManager[object]:
    """Inside it, the device is the current one of CUDA, where it is a CUDA device."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


@contextmanager
def seeded(seed: int, state: Tensor | None = None) -> Iterator[None]:
    """Inside it torch's random generators are seeded.

    Args:
        state: of the CPU's generator after earlier draws with the same seed; None: nothing was drawn.
    """
    cuda = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []  # else there is no state to keep
    with torch.random.fork_rng(cuda):
        torch.manual_seed(seed)
        if state is not None:
            torch.set_rng_state(state)
        yield


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    try:
        if count:
            torch.set_num_threads(count)
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _by_default(device: torch.device) -> Iterator[None]:
    """Inside it tensors are made as float32 on the CPU, gradients are recorded, and autocast is off."""
    before = torch.get_default_dtype()
    elsewhere = torch.get_default_device().type != "cpu"
    place = torch.device("cpu") if elsewhere else nullcontext()  # inside a device every call of torch is slower
    torch.set_default_dtype(torch.float32)
    try:
        with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device.type, enabled=False), place:
            yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def _deterministic(device: torch.device) -> Iterator[None]:
    """Inside it CUDA uses deterministic algorithms, with warnings where there is none. Sums on a CPU always are so."""
    if device.type != "cuda":
        yield
        return
    enabled = torch.are_deterministic_algorithms_enabled()
    warns, workspace = torch.is_deterministic_algorithms_warn_only_enabled(), os.environ.get(CUBLAS)
    try:
        os.environ.setdefault(CUBLAS, ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
        yield
    finally:
        torch.use_deterministic_algorithms(enabled, warn_only=warns)
        if workspace is None:
            del os.environ[CUBLAS]
