"""Which points of a front are kept where there are too many."""

from collections.abc import Sequence

import numpy as np

from search.budgets.pareto import hypervolume, on_front


def spread(points: Sequence[Sequence[float]], count: int) -> list[int]:
    """Indices of `count` points of the front. Each in turn adds most to the hypervolume of those before it.

    Args:
        points: coordinates that should all be small. They are scaled to 0..1, and the reference is 1.1.
    """
    values = np.asarray(points, dtype=np.float64)
    front = on_front(values).nonzero()[0]
    low, high = values[front].min(0), values[front].max(0)
    scaled = (values - low) / np.where(high > low, high - low, 1.0)
    reference = np.full(values.shape[1], 1.1)
    chosen: list[int] = []
    while len(chosen) < min(count, len(front)):
        left = [int(i) for i in front if i not in chosen]
        chosen.append(max(left, key=lambda i: hypervolume(scaled[[*chosen, i]], reference)))
    return chosen
