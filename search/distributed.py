"""Data-parallel runs under torchrun: which process this is, and what all of them have together."""

import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar, cast

import torch
from torch import Tensor, distributed

T = TypeVar("T")


@dataclass
class _Membership:
    """What this module has done to the process.

    Attributes:
        ours: whether the process group was made here.
        alone: whether this process has left the group and counts as one alone.
    """

    ours: bool = False
    alone: bool = False


_here = _Membership()


@contextmanager
def joined(device: torch.device) -> Iterator[None]:
    """Inside it, this process is in the group that torchrun describes. Without torchrun it is alone.

    A group that exists already belongs to the caller: it is used, and it stays.

    Args:
        device: of this process. A CUDA device has to be the current one, because NCCL sends objects by way of it: with
            one device for all processes it would wait for ever.
    """
    if not distributed.is_initialized() and int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        _here.ours = True
    try:
        yield
    finally:
        _stop()
        _here.alone = False


def _stop() -> None:
    if _here.ours and distributed.is_initialized():
        distributed.destroy_process_group()
    _here.ours = False


def leave() -> None:
    """From here to the end of `joined` this process counts as one alone. A group that `joined` made ends here."""
    _stop()
    _here.alone = True


def mean_(x: Tensor) -> Tensor:
    """The mean over all processes, in place."""
    if world_size() > 1:
        distributed.all_reduce(x)
        x /= world_size()
    return x


def agreed(make: Callable[[], T]) -> T:
    """What rank 0 makes, on every process. What rank 0 raises is raised on every process, so that none waits for it.

    An error that cannot be sent arrives as a RuntimeError with its text.
    """
    if world_size() == 1:
        return make()
    sent: list[Any] = [None, None]  # what was made, and what was raised
    error: Exception | None = None
    if rank() == 0:
        try:
            sent[0] = make()
        except Exception as raised:
            error, sent[1] = raised, _sendable(raised)
    distributed.broadcast_object_list(sent, src=0)
    if error is not None or sent[1] is not None:
        raise error or sent[1]
    return cast(T, sent[0])


def _sendable(error: Exception) -> Exception:
    """The error, or a RuntimeError of its text where it cannot be read again from its pickle."""
    try:
        again = pickle.loads(pickle.dumps(error))
    except Exception:  # an error with any arguments of its own, which pickle does not know
        again = None
    return error if isinstance(again, type(error)) else RuntimeError(f"{type(error).__name__}: {error}")


class Local(NamedTuple):
    """This process among those that torchrun started on this machine.

    Attributes:
        rank: its number among them.
        processes: how many they are; 1 without torchrun.
    """

    rank: int
    processes: int


def local() -> Local:
    return Local(int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def rank() -> int:
    return distributed.get_rank() if _grouped() else 0


def world_size() -> int:
    return distributed.get_world_size() if _grouped() else 1


def _grouped() -> bool:
    return distributed.is_initialized() and not _here.alone


def summed(values: list[float], device: torch.device) -> list[float]:
    """The sums over all processes."""
    if world_size() == 1:
        return values
    together = torch.tensor(values, dtype=torch.float64, device=device)
    distributed.all_reduce(together)
    return together.tolist()


def gathered(x: Tensor) -> Tensor:
    """The tensors of all processes one behind another, along their first dimension. Every process has to call."""
    if world_size() == 1:
        return x
    counts = torch.zeros(world_size(), dtype=torch.int64, device=x.device)
    counts[rank()] = len(x)
    distributed.all_reduce(counts)
    padded = x.new_zeros(int(counts.max()), *x.shape[1:])
    padded[: len(x)] = x
    each = [torch.empty_like(padded) for _ in range(world_size())]
    distributed.all_gather(each, padded)
    return torch.cat([part[:count] for part, count in zip(each, counts.tolist(), strict=True)])
