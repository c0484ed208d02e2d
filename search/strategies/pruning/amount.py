"""How many parts go, and so which: a fraction, all that lie below a threshold, or as many as the budgets ask for."""

from collections.abc import Mapping

import torch
from torch import Tensor

from search.errors import UsageError
from search.settings.strategies import MagnitudeSettings
from search.strategies.problem import Problem
from search.strategies.pruning.parts import Parts, over_layers_means
from search.strategies.pruning.ranking import as_layers_shares, ascending, by_energy, scores

HOW_TO_OPEN = {
    "channels": "no channels are open. Add 0 to space.weight_bits",
    "weights": "no weights are open. Set space.pattern=weights",
}


def refuse_amount(s: MagnitudeSettings, sizes: Mapping[str, int], budgets: Mapping[str, float]) -> None:
    """Raises UsageError: there is nothing to prune, no amount, two amounts, or more than can go.

    Args:
        sizes: layer -> its parts.
    """
    if not sizes:
        raise UsageError(f"strategy.structure '{s.structure}': {HOW_TO_OPEN[s.structure]}.")
    given = s.fraction is not None or s.threshold is not None
    if not given and (s.structure == "weights" or not budgets):
        raise UsageError(
            f"strategy 'magnitude': there are budgets {dict(budgets)} and no amount of {s.structure} to prune. "
            "Give strategy.fraction or strategy.threshold; of channels, budgets say it too."
        )
    if given and s.structure == "channels" and budgets:
        amount = f"fraction {s.fraction}" if s.fraction is not None else f"threshold {s.threshold}"
        raise UsageError(
            f"strategy 'magnitude': budgets {dict(budgets)} say how many channels go, and strategy.{amount} says "
            "it too. Leave one of them out."
        )
    total, most = sum(sizes.values()), sum(sizes.values()) - len(sizes)
    if s.fraction is not None and s.scope == "global" and round(s.fraction * total) > most:
        raise UsageError(
            f"strategy.fraction {s.fraction}: of {total} {s.structure} in {len(sizes)} layers one a layer stays, "
            f"so {most / total:.4g} can go at most."
        )


class Amount:
    """What goes at one point of the front."""

    def __init__(self, settings: MagnitudeSettings, problem: Problem, parts: Parts) -> None:
        self._settings, self._problem, self._parts = settings, problem, parts

    def gone(self, share: float) -> Tensor:
        """(N,) bool, what is gone when that share of the amount is gone; what is gone now among it."""
        s, problem, parts = self._settings, self._problem, self._parts
        gone, values = parts.gone(), scores(problem, parts, s.criterion)
        if s.threshold is not None:
            values = over_layers_means(values, parts.sizes)
        if s.scope == "layer":
            values = as_layers_shares(values, parts.sizes)

        def enough(candidate: Tensor) -> bool:
            if s.fraction is not None:
                return int(candidate.sum()) >= round(s.fraction * share * len(candidate))
            return not self._over(candidate)

        if s.order == "energy":
            order = by_energy(problem, parts, values, s.tolerance, enough)
        else:
            order = ascending(values, parts.sizes)
        return gone.index_fill(0, order[: self._count(order, values, share)], True)

    def _count(self, order: Tensor, values: Tensor, share: float) -> int:
        """How many of the places in the order go."""
        s = self._settings
        if s.threshold is not None:
            return int((values[order] < s.threshold * share).sum())
        if s.fraction is not None and s.scope == "layer":
            return int((values[order] <= s.fraction * share).sum())
        if s.fraction is not None:
            return round(s.fraction * share * len(values))
        return round(share * self._fewest(order))

    def _fewest(self, order: Tensor) -> int:
        """The fewest that meet the budgets, by bisection: costs fall with every channel."""
        none = torch.zeros_like(self._parts.gone())
        low, high = 0, len(order)
        while low < high:
            middle = (low + high) // 2
            if self._over(none.index_fill(0, order[:middle], True)):
                low = middle + 1
            else:
                high = middle
        return low

    def _over(self, gone: Tensor) -> bool:
        """Whether the network is over a budget when this is gone."""
        before = self._parts.gone()
        self._parts.remove(gone)
        architecture = self._problem.space.architecture()
        self._parts.remove(before)
        return not self._problem.budgets.met_by(architecture)
