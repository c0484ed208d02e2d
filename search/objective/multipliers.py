"""The multipliers at which the cheapest changes of the decisions come to the targets (docs/methods.md, section 9).

A Lagrangian with the multipliers m takes in each group the option with the least loss increase + m * cost. The larger m
is, the less the network costs. So m is found from the targets, by bisection, on the estimates that there are: what each
option would do to the loss, and what it would cost. It has the unit of a loss for each unit of cost, whatever the size
of the loss is, and it does not accumulate while decisions are on their way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from spaces.decisions.selection import GATES

ROUNDS = 3  # over the constraints, which depend on each other
HALVINGS = 20
FARTHEST = 60  # doublings from the smallest multiplier that is tried


@dataclass(frozen=True)
class Menu:
    """Groups of decisions that have as many options as each other.

    Attributes:
        losses: (groups, options), the loss with each option, of which only differences mean something.
        costs: (constraints, groups, options), each cost with each option, in the same way.
        now: (groups, 1), the option in use.
    """

    losses: Tensor
    costs: Tensor
    now: Tensor

    def saved(self, multipliers: Tensor) -> Tensor:
        """(constraints,), what the options save that are best at these multipliers."""
        best = (self.losses + torch.tensordot(multipliers, self.costs, 1)).argmin(1, keepdim=True)
        each = self.costs.gather(2, self.now.expand(len(self.costs), -1, 1)) - self.costs.gather(
            2, best.expand(len(self.costs), -1, 1)
        )
        return each.sum((1, 2))


def menus(
    losses: Mapping[str, Tensor], slopes: Sequence[Mapping[str, Tensor]], now: Mapping[str, Tensor]
) -> list[Menu]:
    """One menu for each number of options.

    Args:
        losses: leaf of a selection -> what options do to the loss; of GATES what closing does, (places,).
        slopes: for each constraint, leaf -> d cost / d leaf.
        now: leaf -> what it is now.
    """
    forms: dict[int, list[tuple[Tensor, list[Tensor], Tensor]]] = {}
    for name, loss in losses.items():
        each, shares = [slope[name] for slope in slopes], now[name]
        if name == GATES:  # the option 0 is closed
            loss = torch.stack((loss, torch.zeros_like(loss)), 1)
            each = [torch.stack((torch.zeros_like(slope), slope), 1) for slope in each]
            for slope in each:
                slope[0] = 0  # the channel that is always open
            picked = (shares > 0).long()[:, None]
        else:
            picked = shares.argmax(1, keepdim=True)
        forms.setdefault(loss.shape[1], []).append((loss.double(), [e.double() for e in each], picked))
    return [
        Menu(
            losses=torch.cat([loss for loss, _, _ in parts]),
            costs=torch.stack([torch.cat([each[k] for _, each, _ in parts]) for k in range(len(slopes))]),
            now=torch.cat([picked for _, _, picked in parts]),
        )
        for parts in forms.values()
    ]


def multipliers(offered: Sequence[Menu], needs: Sequence[float]) -> list[float]:
    """The smallest multipliers at which every need is saved, as far as the menus allow.

    Args:
        needs: for each constraint what has to be saved; negative: what may be spent.
    """
    found = torch.zeros(len(needs), dtype=torch.float64, device=offered[0].losses.device if offered else None)
    if not offered:
        return found.tolist()
    for _ in range(ROUNDS if len(needs) > 1 else 1):
        for k, need in enumerate(needs):
            found[k] = _smallest(offered, found, k, need)
    return found.tolist()


def _smallest(offered: Sequence[Menu], others: Tensor, k: int, need: float) -> float:
    def saved(value: float) -> float:
        trial = others.clone()
        trial[k] = value
        return sum(float(menu.saved(trial)[k]) for menu in offered)

    if saved(0.0) >= need:
        return 0.0
    low, high = _bracket(offered, k)
    most = saved(high)
    need = min(need, most)
    for _ in range(HALVINGS + FARTHEST):
        if high <= low * 1.0001:
            break
        middle = (low * high) ** 0.5
        low, high = (low, middle) if saved(middle) >= need else (middle, high)
    return high


def _bracket(offered: Sequence[Menu], k: int) -> tuple[float, float]:
    """Multipliers at which hardly anything and all that can be is saved: ratios of loss to cost between options."""
    least, most = float("inf"), 0.0
    for menu in offered:
        loss = (menu.losses[:, :, None] - menu.losses[:, None, :]).abs()
        cost = (menu.costs[k][:, :, None] - menu.costs[k][:, None, :]).abs()
        ratio = loss[(cost > 0) & (loss > 0)] / cost[(cost > 0) & (loss > 0)]
        if len(ratio):
            least, most = min(least, float(ratio.min())), max(most, float(ratio.max()))
    return (least / 2, most * 2) if most else (1e-12, 1.0)
