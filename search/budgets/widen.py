"""Growth up to the budgets: the second step of MorphNet (Gordon et al., CVPR 2018, arXiv 1711.06798, section 3.3).

All layers grow by one factor, so the proportions that the search found stay. Important channels are copied first. A
copy shares the weights of its readers with its original, so the network computes what it did.
"""

from collections.abc import Mapping, Sequence

from search.budgets.feasibility import Budgets
from spaces.architecture import Architecture

WIDEST = 64.0  # times as many channels
STEPS = 30  # of the bisection


def widened(budgets: Budgets, architecture: Architecture, importance: Mapping[str, Sequence[float]]) -> Architecture:
    """The architecture with as many channels as fit, all gates by one factor. It is not changed where no more fit.

    Args:
        importance: gate -> a value for each channel. Channels with the largest values are copied first.
    """
    best, low, high = architecture, 1.0, WIDEST
    for _ in range(STEPS):
        factor = (low + high) / 2
        candidate = architecture.having(
            {name: _copied(architecture.picks[name], values, factor) for name, values in importance.items()}
        )
        if budgets.met_by(candidate):
            best, low = candidate, factor
        else:
            high = factor
    return best


def _copied(pick: Sequence[int], importance: Sequence[float], factor: float) -> tuple[int, ...]:
    opened = [channel for channel, times in enumerate(pick) if times]
    times, more = divmod(int(factor * len(opened)), len(opened))
    first = sorted(opened, key=lambda channel: -importance[channel])[:more]
    return tuple(times + (channel in first) if channel in opened else 0 for channel in range(len(pick)))
