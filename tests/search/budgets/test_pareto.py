"""Fronts against brute force."""

from itertools import product

import numpy as np
import pytest

from search.budgets.pareto import front_volume, hypervolume, knee, on_front

CASES = [(seed, n, d) for seed in range(30) for n, d in ((1, 2), (6, 2), (25, 2), (6, 3), (15, 3))]


def drawn(seed: int, n: int, d: int) -> np.ndarray:
    """Whole numbers 0 .. 7: many ties and equal points."""
    return np.random.default_rng(seed).integers(0, 8, (n, d)).astype(float)


def dominates(a, b) -> bool:
    return all(x <= y for x, y in zip(a, b, strict=True)) and any(x < y for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize(("seed", "n", "d"), CASES)
def test_front_is_what_nothing_dominates_each_point_once(seed, n, d):
    points = drawn(seed, n, d)
    found = [tuple(p) for p in points[on_front(points)]]
    expected = {tuple(p) for p in points if not any(dominates(q, p) for q in points)}
    assert set(found) == expected and len(found) == len(expected)


@pytest.mark.parametrize(("seed", "n", "d"), CASES)
def test_hypervolume_counts_the_cells_that_are_dominated(seed, n, d):
    points, reference = drawn(seed, n, d), (7, 6, 8)[:d]
    cells = product(*(range(r) for r in reference))
    expected = sum(any(all(p <= c for p, c in zip(point, cell, strict=True)) for point in points) for cell in cells)
    assert hypervolume(points, np.array(reference)) == expected


def test_hypervolume_of_fractions():
    points = np.array([[0.25, 0.5], [0.5, 0.125]])
    assert hypervolume(points, np.array([1.0, 1.0])) == 0.75 * 0.5 + 0.5 * 0.375
    assert hypervolume(points, np.array([0.25, 1.0])) == 0.0
    assert hypervolume(np.zeros((0, 2)), np.array([1.0, 1.0])) == 0.0


def test_knee_is_farthest_from_the_line_through_the_ends():
    points = np.array([[0.0, 10.0], [1.0, 3.0], [2.0, 1.5], [6.0, 1.0], [10.0, 0.0], [9.0, 9.0]])
    ends = points[[0, 4]]
    direction = (ends[1] - ends[0]) / np.linalg.norm(ends[1] - ends[0])
    offsets = points[:5] - ends[0]
    distance = np.abs(offsets[:, 0] * direction[1] - offsets[:, 1] * direction[0])
    assert knee(points) == distance.argmax()


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("d", [2, 3])
def test_knee_has_the_least_sum_of_what_is_scaled_over_the_front(seed, d):
    points = drawn(seed, 12, d)
    front = [p for p in points.tolist() if not any(dominates(q, p) for q in points.tolist())]
    low, high = ([end(p[i] for p in front) for i in range(d)] for end in (min, max))

    def total(point):
        return sum((x - a) / ((b - a) or 1.0) for x, a, b in zip(point, low, high, strict=True))

    found = points[knee(points)].tolist()
    assert found in front and total(found) == pytest.approx(min(map(total, front)))


def test_knee_of_one_and_of_none():
    assert knee(np.array([[3.0, 4.0]])) == 0
    with pytest.raises(ValueError, match="no points"):
        knee(np.zeros((0, 2)))


def test_what_is_no_number_is_refused():
    with pytest.raises(ValueError, match=r"points \[1\] have coordinates that are no numbers"):
        on_front(np.array([[0.0, 1.0], [np.nan, 1.0]]))
    with pytest.raises(ValueError, match=r"points of shape \(3,\)"):
        hypervolume(np.zeros(3), np.zeros(3))
    with pytest.raises(ValueError, match=r"reference of shape \(3,\) for points of 2 coordinates"):
        hypervolume(np.zeros((1, 2)), np.zeros(3))


# The volume of a front


def test_the_volume_is_accuracy_by_octaves_of_the_cost():
    assert front_volume([400, 100], [0.9, 0.5], [0.9, 0.5], 1600) == pytest.approx(2 * 0.9 + 2 * 0.5)
    assert front_volume([1600, 3200], [0.9, 1.0], [0.9, 1.0], 1600) == 0  # nothing is smaller than the seed network


def test_of_one_accuracy_the_volume_is_the_hypervolume():
    random = np.random.default_rng(0)
    for _ in range(50):
        costs, accuracies = random.integers(1, 40, 12) * 50.0, random.integers(0, 20, 12) / 20
        corners = np.column_stack([np.log2(costs / 1000), -accuracies])
        assert front_volume(costs, accuracies, accuracies, 1000) == pytest.approx(hypervolume(corners, np.zeros(2)))


def test_validation_data_chooses_the_points_and_test_data_measures_them():
    assert front_volume([200, 100], [0.85, 0.80], [0.85, 0.90], 400) == pytest.approx(0.85 + 0.90)  # no luck of test
    costs, val, test = [800, 400], [0.5, 0.75], [1.0, 0.5]
    assert front_volume(costs, val, test, 1600) == 2 * 0.5  # the first is on no front but that of the test data
    assert front_volume(costs, val, val, 1600) == 2 * 0.75
    assert front_volume(costs, test, test, 1600) == 1 * 1.0 + 1 * 0.5
