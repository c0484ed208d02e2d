"""Choices: outcome, gradient, refusals."""

import pytest
import torch

from spaces.decisions.choice import MODES, Choice


def choice(logits: list[list[float]], mode: str = "hard", temperature: float = 1.0) -> Choice:
    made = Choice("stem/bits", (2, 4, 8)[: len(logits[0])], len(logits), mode, temperature)
    with torch.no_grad():
        made.logits.copy_(torch.tensor(logits))
    return made


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
