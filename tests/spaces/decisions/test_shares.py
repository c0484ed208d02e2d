"""What many choices say in one pass is what each says by itself."""

import pytest
import torch

from spaces.decisions.choice import Choice
from spaces.decisions.shares import shares

FORMS = (((2, 8), 1), ((2, 4, 8), 5), ((2, 8), 4), ((2, 8), 3), ((2, 4, 8), 2))


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
