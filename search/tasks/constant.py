"""Numbers of a task that its loss needs where the outputs are."""

import torch
from torch import Tensor


class Constant:
    """A tensor of the host, which goes to each device once: with every batch, a copy would wait for the device."""

    def __init__(self, values: Tensor) -> None:
        self._on = {values.device: values}

    def on(self, device: torch.device) -> Tensor:
        """The tensor on a device."""
        if device not in self._on:
            self._on[device] = next(iter(self._on.values())).to(device)
        return self._on[device]
