"""Changes of an architecture, and what each does to the loss and to the costs (docs/methods.md, section 12)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from spaces.architecture import Architecture

# Of GATES: (places,), of closing each channel. Of a choice: (groups, options), where differences count.
LossIncreases = Mapping[str, Tensor]


@dataclass(frozen=True)
class Change:
    """Group `group` of a decision gets the option `option`.

    Attributes:
        loss_increase: an estimate; below 0 where the loss falls.
        saved: an estimate for each cost in question; below 0 where the cost rises.
        closes: whether a channel closes.
    """

    decision: str
    group: int
    option: int
    loss_increase: float
    saved: tuple[float, ...]
    closes: bool = False


@dataclass(frozen=True)
class CostRow:
    """A cost near the present picks.

    Attributes:
        excess: the cost minus its budget.
        slopes: d cost / d share, of the decisions that bear on it.
    """

    excess: float
    slopes: Mapping[str, Tensor]


def cost_row(cost: Tensor, excess: float, leaves: Mapping[str, Tensor]) -> CostRow:
    """The row of a cost that was computed from the leaves of a selection."""
    if not cost.requires_grad:  # no decision bears on it
        return CostRow(excess, {})
    slopes = torch.autograd.grad(cost, list(leaves.values()), allow_unused=True, retain_graph=True)
    return CostRow(excess, {name: slope for name, slope in zip(leaves, slopes, strict=True) if slope is not None})


def applied(architecture: Architecture, changes: Sequence[Change]) -> Architecture:
    """The architecture with the changes made. The last channel of a gate stays open."""
    picks = {name: list(pick) for name, pick in architecture.picks.items()}
    for change in changes:
        if change.closes and sum(picks[change.decision]) <= 1:
            continue
        picks[change.decision][change.group] = change.option
    return architecture.having({name: tuple(pick) for name, pick in picks.items()})
