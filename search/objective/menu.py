"""What the decisions could be: what every option of every group adds to the loss, and what it costs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from spaces.decisions.selection import GATES

HALVINGS = 40  # of an interval of multipliers, in logarithms
CLOSE = 1e-3  # relative, to which a multiplier is found
ROUNDS = 3  # over the multipliers, which depend on each other

Leaves = Mapping[str, Tensor]  # of a selection


@dataclass(frozen=True)
class _Page:
    """The groups that have as many options as each other, in float64.

    Attributes:
        leaves: whose groups they are, one leaf after another, with the number of its groups.
        losses: (groups, options), the loss with each option, of which only differences mean something.
        costs: (constraints, groups, options), each cost with each option, in the same way.
        now: (groups, 1), the option in use.
    """

    leaves: tuple[tuple[str, int], ...]
    losses: Tensor
    costs: Tensor
    now: Tensor

    def best(self, multipliers: Tensor) -> Tensor:
        """(groups, 1), the options with the least loss + multipliers * cost."""
        scores = self.losses + (multipliers[:, None, None] * self.costs).sum(0)
        return scores.argmin(1, keepdim=True)

    def saved(self, multipliers: Tensor) -> Tensor:
        """(constraints,), what they save."""
        best = self.best(multipliers).expand(len(self.costs), -1, 1)
        return self._now - self.costs.gather(2, best).sum((1, 2))

    @cached_property
    def _now(self) -> Tensor:
        return self.costs.gather(2, self.now.expand(len(self.costs), -1, 1)).sum((1, 2))

    def ratios(self, constraint: int) -> tuple[float, float]:
        """The least and the largest ratio of loss to cost between two options of a group; (0, 0): there is none."""
        loss = (self.losses[:, :, None] - self.losses[:, None, :]).abs()
        cost = (self.costs[constraint][:, :, None] - self.costs[constraint][:, None, :]).abs()
        counts = (cost > 0) & (loss > 0)
        if not counts.any():
            return 0.0, 0.0
        found = loss[counts] / cost[counts]
        return float(found.min()), float(found.max())


class Menu:
    """All groups of all decisions.

    Args:
        losses: leaf -> what its options add to the loss; of GATES what closing adds, (places,). Decisions without an
            entry are left as they are.
        slopes: for each constraint, d cost / d each leaf.
        now: the leaves as they are.
    """

    def __init__(self, losses: Leaves, slopes: Sequence[Leaves], now: Leaves) -> None:
        self._now = now
        forms: dict[int, list[tuple[tuple[str, int], Tensor, Tensor, Tensor]]] = {}
        for name, each in losses.items():
            loss, costs, value = each.double(), torch.stack([slope[name] for slope in slopes]).double(), now[name]
            if name == GATES:  # the first place is the channel that is always open
                loss, costs, value = _as_choice(loss[1:]), costs[:, 1:], value[1:]
                costs = torch.stack((torch.zeros_like(costs), costs), 2)
                value = torch.stack((value == 0, value > 0), 1).double()
            form = (name, len(loss)), loss, costs, value.argmax(1, keepdim=True)
            forms.setdefault(loss.shape[1], []).append(form)
        self._pages = []
        for parts in forms.values():
            leaves, loss_parts, cost_parts, picked = zip(*parts, strict=True)
            self._pages.append(_Page(leaves, torch.cat(loss_parts), torch.cat(cost_parts, 1), torch.cat(picked)))

    def saved(self, multipliers: Sequence[float]) -> list[float]:
        """What is saved, a number a constraint, if every group takes the option of least loss + multipliers * cost.

        Savings are added up as the slopes have them. Costs are products, in which what two changes save of one another
        counts twice, so no more than this is saved.
        """
        total = [0.0] * len(multipliers)
        for page in self._pages:
            found = page.saved(self._tensor(multipliers, page)).tolist()
            total = [a + b for a, b in zip(total, found, strict=True)]
        return total

    def multipliers(self, needs: Sequence[float]) -> list[float]:
        """The smallest multipliers at which every need is saved, or as much of it as can be.

        Args:
            needs: for each constraint what has to be saved; negative: what may be spent.
        """
        found = [0.0] * len(needs)
        for _ in range(ROUNDS if len(needs) > 1 else 1):
            for constraint, need in enumerate(needs):
                found[constraint] = self._smallest(found, constraint, need)
        return found

    def best(self, multipliers: Sequence[float]) -> dict[str, Tensor]:
        """The leaves if every group takes the option of least loss + multipliers * cost."""
        leaves = {name: value.detach().clone() for name, value in self._now.items()}
        for page in self._pages:
            options = page.best(self._tensor(multipliers, page)).split([groups for _, groups in page.leaves])
            for (name, _), option in zip(page.leaves, options, strict=True):
                if name == GATES:
                    leaves[name][1:] = option[:, 0].to(leaves[name])
                else:
                    leaves[name] = torch.zeros_like(leaves[name]).scatter_(1, option, 1.0)
        return leaves

    def _smallest(self, others: Sequence[float], constraint: int, need: float) -> float:
        """The smallest multiplier of one constraint at which the need is saved, while the others are as they are."""

        def saved(value: float) -> float:
            return self.saved([*others[:constraint], value, *others[constraint + 1 :]])[constraint]

        ratios = [page.ratios(constraint) for page in self._pages]
        most = max((high for _, high in ratios), default=0.0)
        if not most or saved(0.0) >= need:
            return 0.0
        low, high = min(low for low, _ in ratios if low) / 2, most * 2
        need = min(need, saved(high))
        for _ in range(HALVINGS):
            if high < low * (1 + CLOSE):
                break
            middle = (low * high) ** 0.5
            low, high = (low, middle) if saved(middle) >= need else (middle, high)
        return high

    @staticmethod
    def _tensor(multipliers: Sequence[float], page: _Page) -> Tensor:
        return torch.tensor(multipliers, dtype=torch.float64, device=page.losses.device)


def _as_choice(closing: Tensor) -> Tensor:
    """(gates, 2), what being closed and being open add to the loss."""
    return torch.stack((closing, torch.zeros_like(closing)), 1)
