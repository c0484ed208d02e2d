"""Gates and choices: outcome, gradient, refusals."""

import pytest
import torch

from spaces.decisions.decision import MODES, Choice, Gate, project, shares, straight_through


def gate(*shadow: float, **options) -> Gate:
    made = Gate("stem/channels", len(shadow), **options)
    with torch.no_grad():
        made.shadow.copy_(torch.tensor(shadow))
    return made


def choice(logits: list[list[float]], mode: str = "hard", temperature: float = 1.0) -> Choice:
    made = Choice("stem/bits", (2, 4, 8)[: len(logits[0])], len(logits), mode, temperature)
    with torch.no_grad():
        made.logits.copy_(torch.tensor(logits))
    return made


# Gate


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


def test_project_brings_shadows_back_where_gradients_reach_them():
    made = gate(-0.4, 0.6, 1.7)
    project([made], [])
    assert made.shadow.tolist() == pytest.approx([0.0, 0.6, 1.0])


@pytest.mark.parametrize("threshold", [-0.5, 0.0, 0.5, 1.0, 1.5])
@pytest.mark.parametrize("hysteresis", [0.0, 0.2])
def test_what_is_fixed_is_picked_wherever_the_threshold_went(threshold, hysteresis):
    made = gate(0.5, 0.5, 0.5, hysteresis=hysteresis, trainable_threshold=True)
    with torch.no_grad():
        made.threshold.fill_(threshold)
    project([made], [])
    made.fix((0, 1, 1))
    assert made.pick() == (0, 1, 1)


def test_a_gate_cannot_be_fixed_to_nothing():
    with pytest.raises(ValueError, match=r"'stem/channels': would remove all 2 channels; at least one must stay"):
        gate(1.0, 1.0).fix((0, 0))


# Choice


def test_a_new_choice_starts_at_the_highest_precision():
    assert Choice("c", (2, 4, 8), 2).pick() == (8, 8)


def test_hard_gives_the_argmax_with_the_gradient_of_the_softmax():
    made, soft = choice([[0.5, 2.0, -1.0]]), torch.tensor([[0.5, 2.0, -1.0]], requires_grad=True)
    weights = torch.tensor([3.0, -1.0, 2.0])
    share = made.share()
    assert share.tolist() == [[0.0, 1.0, 0.0]]
    (share * weights).sum().backward()
    (torch.softmax(soft, -1) * weights).sum().backward()
    torch.testing.assert_close(made.logits.grad, soft.grad)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 5.0])
def test_soft_is_the_softmax_at_the_temperature(temperature):
    made = choice([[0.5, 2.0, -1.0]], "soft", temperature)
    torch.testing.assert_close(made.share(), torch.softmax(made.logits / temperature, -1))


def test_gumbel_draws_in_the_ratio_of_the_probabilities():
    torch.manual_seed(0)
    made = choice([[1.0, 0.0]] * 20_000, "gumbel")
    share = made.share()
    assert set(share.unique().tolist()) == {0.0, 1.0}
    assert share[:, 0].mean().item() == pytest.approx(torch.tensor(1.0).sigmoid().item(), abs=0.02)
    share[:, 0].sum().backward()
    assert (made.logits.grad[:, 0] > 0).all()


@pytest.mark.parametrize("mode", MODES)
def test_rows_sum_to_one_and_evaluation_takes_the_argmax(mode):
    made = choice([[0.5, 2.0, -1.0], [3.0, 0.0, 1.0]], mode)
    torch.testing.assert_close(made.share().sum(1), torch.ones(2))
    assert made.eval().share().tolist() == [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]
    assert made.pick() == (4, 2)


def test_fix_is_obeyed():
    made = Choice("c", (2, 4, 8), 3)
    made.fix((8, 2, 4))
    assert made.pick() == (8, 2, 4)


@pytest.mark.parametrize(
    "pick, message",
    [
        ((2, 4), "takes 3 values out of .2, 4, 8., got 2 values"),
        ((2, 3, 8), r"takes 3 values .* got 3 values with \[3\] among them"),
    ],
)
def test_a_pick_that_does_not_fit_is_refused(pick, message):
    with pytest.raises(ValueError, match=f"'c': {message}"):
        Choice("c", (2, 4, 8), 3).fix(pick)


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match=r"'c': mode 'argmax' is not one of .*hard.*soft.*gumbel"):
        Choice("c", (2, 8), 1, mode="argmax")


@pytest.mark.parametrize("mode", ["hard", "soft"])
def test_shares_in_one_pass_are_the_single_ones(mode):
    torch.manual_seed(1)
    made = [Choice(str(i), options, groups, mode) for i, (options, groups) in enumerate(FORMS)]
    made[3].temperature = 3.0
    made[4].eval()
    for each in made:
        torch.nn.init.normal_(each.logits)
    together, single = shares(made), [each.share() for each in made]
    assert [t.shape for t in together] == [s.shape for s in single]
    assert all(torch.equal(t, s) for t, s in zip(together, single, strict=True))
    grads = [
        torch.autograd.grad(s.square().sum() + 3 * s[:, 0].sum(), c.logits)[0]
        for s, c in zip(single, made, strict=True)
    ]
    sum(t.square().sum() + 3 * t[:, 0].sum() for t in together).backward()
    for each, grad in zip(made, grads, strict=True):
        torch.testing.assert_close(each.logits.grad, grad)


FORMS = (((2, 8), 1), ((2, 4, 8), 5), ((2, 8), 4), ((2, 8), 3), ((2, 4, 8), 2))


def test_straight_through_gives_one_tensor_and_the_gradient_of_the_other():
    through = torch.tensor([1.0, 2.0], requires_grad=True)
    out = straight_through(through * 3, torch.tensor([5.0, 7.0]))
    out.sum().backward()
    assert out.tolist() == [5.0, 7.0]
    assert through.grad.tolist() == [3.0, 3.0]
