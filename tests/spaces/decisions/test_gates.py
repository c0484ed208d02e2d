"""Gates: outcome, gradient, refusals."""

import pytest
import torch

from spaces.decisions.gates import Gate
from tests.spaces.decisions.small import gate


def test_a_new_gate_keeps_all():
    assert Gate("g", 3).pick() == (1, 1, 1)


def test_a_gate_is_open_above_the_threshold_only():
    assert gate(0.4, 0.5, 0.6).pick() == (0, 0, 1)


def test_share_and_keep_are_exactly_zero_or_one():
    made = gate(0.2, 0.7)
    assert made.keep().tolist() == [0.0, 1.0]
    assert made.share().tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_gradient_passes_straight_inside_the_unit_interval_and_is_cut_outside():
    made = gate(-0.1, 0.0, 0.3, 0.9, 1.0, 1.1)
    slopes = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    (made.keep() * slopes).sum().backward()
    assert made.shadow.grad.tolist() == [0.0, 2.0, 3.0, 4.0, 5.0, 0.0]


def test_a_closed_gate_reopens_only_above_the_upper_margin():
    made = gate(0.55, 0.55, hysteresis=0.1)
    made.was_open.copy_(torch.tensor([True, False]))
    assert made.pick() == (1, 0)
    with torch.no_grad():
        made.shadow.copy_(torch.tensor([0.45, 0.61]))
    assert made.pick() == (1, 1)
    with torch.no_grad():
        made.shadow.copy_(torch.tensor([0.39, 0.61]))
    assert made.pick() == (0, 1)


def test_hysteresis_moves_with_a_training_pass_and_not_with_an_evaluation():
    made = gate(0.3, 0.9, hysteresis=0.1).eval()
    made.keep()
    assert made.was_open.tolist() == [True, True]
    made.train().keep()
    assert made.was_open.tolist() == [False, True]


def test_the_threshold_learns_against_the_shadows():
    made = gate(0.2, 0.7, -0.5, trainable_threshold=True)
    (made.keep() * torch.tensor([1.0, 2.0, 4.0])).sum().backward()
    assert made.threshold.grad.item() == -3.0


def test_the_threshold_is_fixed_unless_asked_for():
    made = gate(0.2, 0.7)
    made.keep().sum().backward()
    assert made.threshold.grad is None


def test_the_best_channel_stays_open_when_all_fall():
    assert gate(0.1, 0.3, 0.2).pick() == (0, 1, 0)


def test_a_gate_cannot_be_fixed_to_nothing():
    with pytest.raises(ValueError, match=r"'stem/channels': would remove all 2 channels; at least one must stay"):
        gate(1.0, 1.0).fix((0, 0))
