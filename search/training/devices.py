"""Which device a process takes. Runs that share a machine spread over its CUDA devices by themselves.

A run holds a *slot* of its device from its start to its end. A slot is an abstract Unix socket: a name that the system
gives to one process at a time, and takes back when that process ends in any way. All processes of a machine see it,
whichever launcher, shell or user has started them, but for containers with networks of their own. A new run takes the
device with the fewest slots in use, so that no device has two runs while another has none. Names are of the device's
UUID, because CUDA_VISIBLE_DEVICES numbers the same devices otherwise in each process.
"""

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import torch

from search import distributed
from search.distributed import Local
from search.errors import UsageError

CPU = torch.device("cpu")
SLOTS = 64  # of a device; runs beyond them hold none
ATTEMPTS = 100  # to take a slot that another process may take first
VISIBLE = "CUDA_VISIBLE_DEVICES"


@contextmanager
def taken(name: str) -> Iterator[torch.device]:
    """Inside it this process has a device, and other runs of picojoule prefer others.

    Args:
        name: `train.device`.

    Raises:
        UsageError: as `devices_for` does.
    """
    devices = devices_for(name, _count(), distributed.local())
    if len(devices) > 1 and torch.distributed.is_initialized():
        devices = [torch.device("cuda", torch.cuda.current_device())]  # a group of the caller's, who has chosen
    if devices == [CPU]:
        yield CPU
        return
    device, slot = _least_used(devices)
    if slot is None:
        yield device
        return
    with closing(slot):
        yield device


def devices_for(name: str, count: int, local: Local) -> list[torch.device]:
    """The devices of which this process may take one.

    Of several processes that torchrun started on this machine each has the device of its number, since NCCL refuses two
    processes on one device.

    Args:
        name: "auto", which is CUDA where there is a device; "cpu", "cuda" or "cuda:N".
        count: number of CUDA devices that this process sees.

    Raises:
        UsageError: there is no such device, or there are fewer devices than processes.
    """
    if name == "cpu" or (name == "auto" and count == 0):
        return [CPU]
    if count == 0:
        raise UsageError(f"train.device '{name}': this machine has no CUDA device. Use 'auto' or 'cpu'.")
    if ":" not in name:
        return _one_each(name, count, local)
    device = torch.device(name)
    if local.processes > 1:
        raise UsageError(
            f"train.device '{name}': is one device, and torchrun started {local.processes} processes on this machine, "
            "each of which needs its own. Use 'cuda'; CUDA_VISIBLE_DEVICES says which devices torchrun may take."
        )
    if device.index >= count:
        raise UsageError(f"train.device '{name}': this machine has {count} CUDA devices. Use a lower number.")
    return [device]


def _one_each(name: str, count: int, local: Local) -> list[torch.device]:
    if local.processes > count:
        raise UsageError(
            f"train.device '{name}': torchrun started {local.processes} processes on this machine, which has {count} "
            f"CUDA devices. Use --nproc-per-node={count} or lower, or train.device=cpu."
        )
    every = [torch.device("cuda", index) for index in range(count)]
    return every if local.processes == 1 else [every[local.rank]]


def described(device: torch.device) -> str:
    """The device, for people: what it is called, and how many other runs of picojoule are on it."""
    visible = os.environ.get(VISIBLE)
    if device.type != "cuda":
        return f"{device} ({VISIBLE} is empty, which hides all GPUs)" if visible == "" else str(device)
    facts = [torch.cuda.get_device_properties(device).name, *([f"{VISIBLE}={visible}"] if visible else [])]
    others = len(_slots_in_use(device)) - 1
    if others > 0:
        facts.append(f"shared with {others} other run{'s' if others > 1 else ''}")
    return f"{device} ({', '.join(facts)})"


def _count() -> int:
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _least_used(devices: Sequence[torch.device]) -> tuple[torch.device, socket.socket | None]:
    """Of the devices the first with the fewest slots in use, and a slot of it; None where none can be had."""
    for _ in range(ATTEMPTS):
        in_use = {device: _slots_in_use(device) for device in devices}
        device = min(devices, key=lambda device: len(in_use[device]))
        free = next((slot for slot in range(SLOTS) if slot not in in_use[device]), None)
        if free is None:
            break
        held = _held(_address(device, free))
        if held is not None:  # else another process was quicker, and has this device now
            return device, held
    return device, None


def _slots_in_use(device: torch.device) -> set[int]:
    return {slot for slot in range(SLOTS) if _is_held(_address(device, slot))}


def _address(device: torch.device, slot: int) -> str:
    properties: Any = torch.cuda.get_device_properties(device)
    return f"\0picojoule {properties.uuid} {slot}"  # the first character makes it abstract: there is no file


def _held(address: str) -> socket.socket | None:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        made.bind(address)
    except OSError:  # it is another's, or this system has no such names
        made.close()
        return None
    return made


def _is_held(address: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        return probe.connect_ex(address) == 0
