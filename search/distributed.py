"""Data-parallel runs under torchrun: who am I, and what do we all have together."""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed

T = TypeVar("T")


def start(device: torch.device) -> None:
    """Joins the process group that torchrun describes in the environment; nothing without torchrun."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not distributed.is_initialized():
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")


def mean_(x: Tensor) -> Tensor:
    """The mean over all processes, in place."""
    if world_size() > 1:
        distributed.all_reduce(x)
        x /= world_size()
    return x


def agreed(make: Callable[[], T]) -> T:
    """What rank 0 makes, on every process."""
    values: list[Any] = [make() if rank() == 0 else None]
    if distributed.is_initialized():
        distributed.broadcast_object_list(values, src=0)
    made: T = values[0]
    return made


def stop() -> None:
    if distributed.is_initialized():
        distributed.destroy_process_group()


def rank() -> int:
    return distributed.get_rank() if distributed.is_initialized() else 0


def world_size() -> int:
    return distributed.get_world_size() if distributed.is_initialized() else 1


def summed(values: list[float], device: torch.device) -> list[float]:
    """The sums over all processes."""
    if world_size() == 1:
        return values
    together = torch.tensor(values, dtype=torch.float64, device=device)
    distributed.all_reduce(together)
    return together.tolist()
