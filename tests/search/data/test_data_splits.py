"""Stratified choices: shares, disjointness, repeatability."""

import pytest
import torch

from search.data.splits import stratified


@pytest.mark.parametrize(
    "sizes, count, expected",
    [
        ((10, 10, 10), 6, [2, 2, 2]),
        ((8, 4, 4), 4, [2, 1, 1]),
        ((6, 3, 1), 4, [3, 1, 0]),  # exact shares 2.4, 1.2, 0.4: one seat is left, tied between 0 and 2, to the first
        ((3, 5), 8, [3, 5]),
    ],
)
def test_classes_keep_their_shares(sizes, count, expected):
    labels = torch.cat([torch.full((n,), label) for label, n in enumerate(sizes)])
    chosen, _ = stratified(labels, count)
    assert torch.bincount(labels[chosen], minlength=len(sizes)).tolist() == expected


def test_chosen_and_rest_are_every_index_once():
    labels = torch.arange(101) % 7
    chosen, rest = stratified(labels, 40)
    assert len(chosen) == 40
    assert sorted([*chosen.tolist(), *rest.tolist()]) == list(range(101))


def test_the_choice_does_not_depend_on_the_global_seed():
    labels = torch.arange(100) % 10
    torch.manual_seed(1)
    first, _ = stratified(labels, 30)
    torch.manual_seed(2)
    second, _ = stratified(labels, 30)
    assert torch.equal(first, second)


@pytest.mark.parametrize("count", [0, 11])
def test_an_impossible_count_is_refused(count):
    with pytest.raises(ValueError, match=f"{count} of 10"):
        stratified(torch.zeros(10, dtype=torch.int64), count)
