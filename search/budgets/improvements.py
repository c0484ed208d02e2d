"""The changes of an architecture that do not raise the loss, in order of gain a share of the budgets that are left.

They are a higher precision of a channel, a closed channel that opens, and the better option of a whole choice. What a
change gains is a difference of loss increases, and what it costs is read off the cost models' slopes (docs/methods.md,
section 12).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.budgets.changes import Change, CostRow, LossIncreases
from search.budgets.kinds import Kind, Kinds
from spaces.architecture import Picks
from spaces.decisions.choice import Choice
from spaces.decisions.decision import Decision
from spaces.decisions.gates import Gate
from spaces.decisions.selection import GATES
from spaces.space import Space

Numbers = NDArray[np.float64]
Rank = tuple[float, bool, float]
FIRST: Rank = (-np.inf, False, 0.0)


@dataclass(frozen=True)
class Improvement:
    """A change that does not raise the loss.

    Attributes:
        kind: changes of one kind cost exactly the same.
        rank: the lowest comes first. It holds the gain a share, negated, whether a channel opens, and the share.
    """

    change: Change
    kind: Kind
    rank: Rank


class Improvements:
    """Those of the architectures of a space whose branches are picked.

    Args:
        increases: a decision without an entry is left as it is.
        picks: of the choices of branches.
    """

    def __init__(self, space: Space, increases: LossIncreases, picks: Picks) -> None:
        self._space, self._kinds = space, Kinds(space, picks)
        self._increases = {name: values.detach().double().cpu().numpy() for name, values in increases.items()}

    def ladders(self, picks: Picks, rows: Sequence[CostRow], prices: CostRow) -> list[Improvement]:
        """Changes of all groups, best first. Where a group changes twice, the second change builds on the first.

        Args:
            rows: of the costs that have budgets.
            prices: of what costs weigh in the loss.
        """
        found = [
            (improvement.rank, number, group, step, improvement)
            for number, table in enumerate(self._tables(picks, rows, prices))
            for group in table.groups
            for step, improvement in enumerate(table.ladder(group))
        ]
        return [improvement for *_, improvement in sorted(found, key=lambda each: each[:4])]

    def singles(self, picks: Picks, rows: Sequence[CostRow], prices: CostRow) -> list[Improvement]:
        """Of each kind of change that can be made now the one that gains most, best first."""
        best: dict[Kind, Improvement] = {}
        for table in self._tables(picks, rows, prices):
            for group in table.groups:
                for found in table.singles(group):
                    known = best.get(found.kind)
                    if known is None or found.change.loss_increase < known.change.loss_increase:
                        best[found.kind] = found
        return sorted(best.values(), key=lambda found: found.rank)

    def _tables(self, picks: Picks, rows: Sequence[CostRow], prices: CostRow) -> Iterator["_Table"]:
        left = np.array([-row.excess for row in rows])
        for name, decision in self._space.decisions.items():
            pick = picks[name]
            if isinstance(decision, Gate):
                if GATES not in self._increases or max(pick) > 1:  # copies of channels stay as they are
                    continue
                here = slice(self._kinds.first(name), self._kinds.first(name) + decision.groups)
                gains = np.stack([-self._increases[GATES][here], np.zeros(decision.groups)], 1)
                slopes = [_slope(row, GATES, len(self._increases[GATES]))[here] for row in (prices, *rows)]
                costs = np.stack([np.stack([np.zeros_like(slope), slope], 1) for slope in slopes])
            elif name in self._increases:
                gains = -self._increases[name]
                costs = np.stack([_slope(row, name, *gains.shape) for row in (prices, *rows)])
            else:
                continue
            kinds = self._kinds.of(decision, picks)
            now = [decision.options.index(option) for option in pick]
            yield _Table(decision, kinds, now, gains - costs[0], costs[1:], left)


class _Table:
    """What the options of one decision gain, and what they cost.

    Args:
        kinds: of each group; groups without one are left out.
        now: for each group, the index of the option that it has.
        gains: (groups, options), of which only differences mean something.
        costs: (rows, groups, options), in the same way.
        left: (rows,), of each budget.
    """

    def __init__(
        self, decision: Decision, kinds: Sequence[Kind | None], now: Sequence[int], gains: Numbers, costs: Numbers,
        left: Numbers,
    ) -> None:  # fmt: skip
        self._decision, self._kinds, self._now = decision, kinds, now
        self.groups = [group for group, kind in enumerate(kinds) if kind is not None]
        self._gains = gains[:, None, :] - gains[:, :, None]  # (groups, from, to)
        self._costs = costs[:, :, None, :] - costs[:, :, :, None]  # (rows, groups, from, to)
        self._shares = _shares(self._costs, left)
        whole = isinstance(decision, Choice) and decision.whole
        enough = self._gains > 0 if whole else self._gains >= 0
        self._helps = enough & np.triu(np.ones(enough.shape[1:], dtype=bool), 1)

    def ladder(self, group: int) -> Iterator[Improvement]:
        """The changes that a group can make one after the other. Their ranks do not fall."""
        now, rank = self._now[group], FIRST
        while True:
            ahead = [(self._rank(group, now, option), option) for option in self._better(group, now)]
            if not ahead:
                return
            best, option = min(ahead)
            rank = max(rank, best)
            yield self._improvement(group, now, option, rank)
            now = option

    def singles(self, group: int) -> Iterator[Improvement]:
        """All changes that a group can make now."""
        now = self._now[group]
        for option in self._better(group, now):
            yield self._improvement(group, now, option, self._rank(group, now, option))

    def _better(self, group: int, now: int) -> list[int]:
        return np.flatnonzero(self._helps[group, now]).tolist()

    def _rank(self, group: int, now: int, option: int) -> Rank:
        gain, share = float(self._gains[group, now, option]), float(self._shares[group, now, option])
        return (-gain / share if share > 0 else -np.inf, isinstance(self._decision, Gate), share)

    def _improvement(self, group: int, now: int, option: int, rank: Rank) -> Improvement:
        change = Change(
            decision=self._decision.name,
            group=group,
            option=self._decision.options[option],
            loss_increase=-float(self._gains[group, now, option]),
            saved=tuple((-self._costs[:, group, now, option]).tolist()),
        )
        return Improvement(change, (*(self._kinds[group] or ()), now, option), rank)


def _shares(costs: Numbers, left: Numbers) -> Numbers:
    """Costs (rows, ...) as shares of what is left, each of the budget of which it is the largest share.

    A share is infinite where nothing is left, and 0 where a change costs nothing.
    """
    room = np.maximum(left, 0).reshape(-1, *(1,) * (costs.ndim - 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        each = np.where(costs > 0, costs / room, 0.0)
    largest: Numbers = each.max(axis=0, initial=0.0)
    return largest


def _slope(row: CostRow, leaf: str, *shape: int) -> Numbers:
    """The slopes of a cost in a leaf of a selection; 0 where it does not bear on the cost."""
    found = row.slopes.get(leaf)
    return np.zeros(shape) if found is None else found.double().cpu().numpy()
