"""Numbers that Python decides by, between a device and the host: as few copies as can be, and early ones."""

from collections.abc import Sequence
from operator import is_not
from typing import NamedTuple

import torch
from torch import Tensor


def on_host(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The tensors on the CPU, copied at once, and waited for. Gradients go back to where they were."""
    if all(tensor.device.type == "cpu" for tensor in tensors):
        return list(tensors)
    return _moved(tensors, torch.device("cpu"))


def on_device(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """The tensors on a device, copied at once."""
    return list(tensors) if device.type == "cpu" else _moved(tensors, device)


def _moved(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    together = torch.cat([tensor.reshape(-1).double() for tensor in tensors]).to(device)
    parts = together.split([tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape).to(tensor.dtype) for part, tensor in zip(parts, tensors, strict=True)]


class _Sent(NamedTuple):
    """Attributes: of: the tensors. versions: torch's count of the changes of each. there: their numbers, flat."""

    of: tuple[Tensor, ...]
    versions: tuple[int, ...]
    there: Tensor
    arrived: torch.cuda.Event | None


class HostCopy:
    """A copy on the host of tensors that change now and then. Tensors on the CPU need none.

    `send` begins the copy where the tensors change, steps before a pass needs it. A change that was not sent (a state
    that was loaded, a decision that was fixed) is noticed by torch's count of changes, and waited for. torch does not
    count the steps of fused optimizers: `send` has to follow them.
    """

    def __init__(self) -> None:
        self._sent: _Sent | None = None

    def __getstate__(self) -> dict[str, None]:
        """For copies of a network, which have tensors of their own."""
        return {"_sent": None}

    def send(self, tensors: Sequence[Tensor]) -> None:
        """Begins to copy what the tensors, of one type on one device, hold now."""
        if not tensors or tensors[0].device.type == "cpu":
            return
        there = torch.cat([tensor.detach().reshape(-1) for tensor in tensors]).to("cpu", non_blocking=True)
        arrived = torch.cuda.Event() if tensors[0].is_cuda else None
        if arrived is not None:
            arrived.record()
        self._sent = _Sent(tuple(tensors), _versions(tensors), there, arrived)

    def of(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """What the tensors hold, out of the graph and on the CPU."""
        if not tensors or tensors[0].device.type == "cpu":
            return [tensor.detach() for tensor in tensors]
        sent = self._sent
        if sent is None or sent.versions != _versions(tensors) or any(map(is_not, sent.of, tensors)):
            self.send(tensors)
            sent = self._sent
        assert sent is not None
        if sent.arrived is not None:
            sent.arrived.synchronize()
        parts = sent.there.split([tensor.numel() for tensor in tensors])
        return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


def _versions(tensors: Sequence[Tensor]) -> tuple[int, ...]:
    return tuple(tensor._version for tensor in tensors)
