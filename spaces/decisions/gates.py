"""Gates: which channels are kept, one gate or all of them in one pass (docs/methods.md, section 1)."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from search.errors import UsageError
from spaces.autograd import applied
from spaces.decisions.decision import Decision


class Gate(Decision):
    """Keeps (1) or drops (0) channels. Each has a float shadow copy, which is binarized straight through.

    At least one channel stays open, because a layer without channels is no network. A gate that was fixed may say 2 or
    more. The channel then stands in the decided network as often.
    """

    was_open: Tensor
    copies: Tensor

    def __init__(
        self,
        name: str,
        groups: int,
        threshold: float = 0.5,
        hysteresis: float = 0.0,
        trainable_threshold: bool = False,
    ) -> None:
        super().__init__(name, (0, 1), groups, start=1)
        self.hysteresis = hysteresis
        self.shadow = nn.Parameter(torch.ones(groups))
        self.threshold = nn.Parameter(torch.tensor(threshold), requires_grad=trainable_threshold)
        self.register_buffer("was_open", torch.ones(groups, dtype=torch.bool))
        self.register_buffer("copies", torch.ones(groups, dtype=torch.long))

    @torch.no_grad()
    def is_open(self) -> Tensor:
        """(groups,) bool.

        A closed gate opens above threshold + hysteresis, and an open one closes below threshold - hysteresis.
        """
        return are_open([self])

    def keep(self) -> Tensor:
        """(groups,) of zeros and ones with the straight-through gradient."""
        return keeps([self])

    def share(self) -> Tensor:
        keep = self.keep()
        return torch.stack((1 - keep, keep), 1)

    def pick(self) -> tuple[int, ...]:
        return tuple((self.is_open() * self.copies).tolist())

    def _wrong(self, pick: Sequence[int]) -> list[int]:
        return sorted(value for value in set(pick) if value < 0)

    def refuse(self, pick: Sequence[int]) -> None:
        super().refuse(pick)
        if not any(pick):
            raise UsageError(
                f"decision '{self.name}': would remove all {self.groups} channels; at least one must stay."
            )

    @torch.no_grad()
    def _fix(self, pick: Sequence[int]) -> None:
        self.copies.copy_(torch.tensor(pick).clamp_min(1))
        self.shadow.copy_(torch.tensor(pick, dtype=self.shadow.dtype).clamp_max(1))
        self.was_open.copy_(self.shadow > 0.5)

    @torch.no_grad()
    def steer(self, against: Tensor) -> None:
        self.shadow.grad = against.to(self.shadow)
        if self.threshold.requires_grad:
            self.threshold.grad = -self.shadow.grad.mean()


def keeps(gates: Sequence[Gate]) -> Tensor:
    """`g.keep()` of all gates, one gate after another, in one pass."""
    opened = are_open(gates)
    for gate, is_open in zip(gates, opened.split([gate.groups for gate in gates]), strict=True):
        if gate.training and gate.hysteresis:
            gate.was_open.copy_(is_open)
    thresholds = torch.cat([gate.threshold.expand(gate.groups) for gate in gates])
    return applied(_Heaviside, torch.cat([gate.shadow for gate in gates]), thresholds, opened)


@torch.no_grad()
def are_open(gates: Sequence[Gate]) -> Tensor:
    """`g.is_open()` of all gates, one gate after another, in one pass that reads nothing of the device."""
    shadows = torch.cat([gate.shadow for gate in gates])
    limits = torch.cat([gate.threshold.expand(gate.groups) for gate in gates])
    if any(gate.hysteresis for gate in gates):
        margins = [torch.where(gate.was_open, -gate.hysteresis, gate.hysteresis) for gate in gates]
        limits = limits + torch.cat(margins)
    places = _in_rows(tuple(gate.groups for gate in gates), shadows.device)
    rows = torch.nn.functional.pad(shadows, (0, 1), value=-torch.inf)[places.rows]
    opened = torch.nn.functional.pad(shadows > limits, (0, 1))[places.rows]
    highest = places.columns == rows.argmax(1, keepdim=True)
    return (opened | (highest & ~opened.any(1, keepdim=True))).flatten()[places.back]


class _Heaviside(torch.autograd.Function):
    """alpha = H(beta - t). The backward pass is the identity where beta lies in [0, 1], and 0 outside."""

    @staticmethod
    def forward(ctx: Any, shadow: Tensor, threshold: Tensor, is_open: Tensor) -> Tensor:
        ctx.save_for_backward(shadow)
        return is_open.to(shadow.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, None]:
        (shadow,) = ctx.saved_tensors
        grad = grad * ((shadow >= 0) & (shadow <= 1))
        return grad, (-grad if ctx.needs_input_grad[1] else None), None


class _Rows(NamedTuple):
    """Where numbers that lie one gate after another stand in rows, one a gate.

    Attributes:
        rows: (gates, most), the place of each; behind the last of a gate one behind all.
        columns: (most,), 0, 1, ...
        back: (n,), the place of each number in the rows, flattened.
    """

    rows: Tensor
    columns: Tensor
    back: Tensor


@lru_cache(maxsize=256)
def _in_rows(sizes: tuple[int, ...], device: torch.device) -> _Rows:
    with torch.inference_mode(False):  # what is kept serves passes that learn too
        columns = torch.arange(max(sizes))
        counts = torch.tensor(sizes)[:, None]
        inside = columns < counts
        rows = torch.where(inside, columns + (counts.cumsum(0) - counts), sum(sizes))
        return _Rows(rows.to(device), columns.to(device), inside.flatten().nonzero()[:, 0].to(device))
