"""Fronts of points whose coordinates should all be small: which points are on it, its hypervolume and its knee.

The terms are defined in docs/methods.md, section 14.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]  # (n, d)


def on_front(points: Points) -> NDArray[np.bool_]:
    """(n,), whether each point is on the front: no other point is as good in everything and better in something.

    Of equal points the first is on it.
    """
    points = _checked(points)
    keep = np.ones(len(points), dtype=bool)
    for i, point in enumerate(points):
        no_worse = (points <= point).all(1)
        better = no_worse & (points < point).any(1)
        earlier = no_worse & (points == point).all(1) & (np.arange(len(points)) < i)
        keep[i] = not (better | earlier).any()
    return keep


def hypervolume(points: Points, reference: NDArray[np.float64]) -> float:
    """The volume of all that some point dominates, up to the reference (Zitzler and Thiele 1998).

    It is exact, by slices along the last coordinate. Points beyond the reference add nothing.

    Args:
        reference: (d,).
    """
    points, reference = _checked(points), np.asarray(reference, dtype=np.float64)
    if reference.shape != points.shape[1:]:
        raise ValueError(f"reference of shape {reference.shape} for points of {points.shape[1]} coordinates.")
    points = points[(points < reference).all(1)]
    return _volume(points[on_front(points)], reference)


def _volume(points: Points, reference: NDArray[np.float64]) -> float:
    if not len(points):
        return 0.0
    if points.shape[1] == 1:
        return float(reference[0] - points.min())
    points = points[points[:, -1].argsort(kind="stable")]
    ends = np.append(points[1:, -1], reference[-1])
    total = 0.0
    for i, end in enumerate(ends):
        if end > points[i, -1]:
            slice_ = points[: i + 1, :-1]
            total += _volume(slice_[on_front(slice_)], reference[:-1]) * float(end - points[i, -1])
    return total


def knee(points: Points) -> int:
    """Index of the point of the front with the least sum of coordinates, each scaled to 0..1 over the front.

    With two coordinates it is the point farthest from the line through the front's ends (Das, Structural Optimization
    1999).

    Raises:
        ValueError: there is no point.
    """
    points = _checked(points)
    if not len(points):
        raise ValueError("knee: no points.")
    index = on_front(points).nonzero()[0]
    front = points[index]
    span = front.max(0) - front.min(0)
    scaled = (front - front.min(0)) / np.where(span > 0, span, 1.0)
    return int(index[scaled.sum(1).argmin()])


def _checked(points: Points) -> Points:
    points = np.asarray(points, dtype=np.float64)
    if points.ndim != 2:
        raise ValueError(f"points of shape {points.shape}; (n, coordinates) is needed.")
    if np.isnan(points).any():
        raise ValueError(
            f"points {np.flatnonzero(np.isnan(points).any(1)).tolist()} have coordinates that are no numbers."
        )
    return points


def front_volume(
    costs: Sequence[float], selected: Sequence[float], accuracies: Sequence[float], seed_cost: float
) -> float:
    """Hypervolume over log2 of a cost and accuracy, against the seed network's cost and an accuracy of 0.

    A limit on the cost allows some points, of which the one with the best `selected` is chosen. Its accuracy is summed
    over octaves of the limit, up to the seed network's cost. Where both accuracies are the same this is the
    hypervolume. Elsewhere no luck with the second accuracy is in it.

    Args:
        selected: accuracies on validation data, by which points are chosen.
        accuracies: of the same points, on the data that the volume is of.
    """
    axis, chosen_by, each = (np.asarray(values, dtype=np.float64) for values in (costs, selected, accuracies))
    front = np.flatnonzero(on_front(np.column_stack([axis, -chosen_by])))
    front = front[np.argsort(axis[front], kind="stable")]
    edges = np.log2(np.minimum([*axis[front], seed_cost], seed_cost))
    return float(each[front] @ np.diff(edges))


def front_knee(costs: Sequence[float], accuracies: Sequence[float]) -> int:
    """Index of the point at which the front bends, over the logarithm of a cost and accuracy."""
    return knee(np.column_stack([np.log2(np.asarray(costs, dtype=np.float64)), -np.asarray(accuracies)]))
