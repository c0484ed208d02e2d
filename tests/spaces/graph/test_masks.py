"""Masks before a softmax, however they are written; and parameters that are read more than once."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from spaces.searchable import searchable
from tests.spaces.graph.converting import Form

TOKENS = ((5, 8),)
NEVER, HIDDEN = float("-inf"), torch.ones(5, 5).triu(1) > 0
NEAR = 1e-4  # of the largest output


def attention(masked):
    """Attention whose scores a function masks."""

    def form(n, x):
        return n.o(masked(n.q(x) @ n.k(x).transpose(1, 2)).softmax(-1) @ x)

    return Form("", form, lambda: {name: nn.Linear(8, 8) for name in "qko"}, TOKENS, NEAR)


def fused(**arguments):
    def form(n, x):
        return n.o(F.scaled_dot_product_attention(n.q(x), n.k(x), x, **arguments))

    return Form("", form, lambda: {name: nn.Linear(8, 8) for name in "qko"}, TOKENS, NEAR)


MASKS = {
    "minus infinity, added": attention(lambda s: s + torch.full((5, 5), NEVER).triu(1)),
    "a large number, added": attention(lambda s: s + torch.full((5, 5), -1e9).triu(1)),
    "masked_fill": attention(lambda s: s.masked_fill(HIDDEN, NEVER)),
    "masked_fill with a large number": attention(lambda s: s.masked_fill(HIDDEN, -1e9)),
    "where": attention(lambda s: torch.where(HIDDEN, torch.tensor(NEVER), s)),
    "is_causal": fused(is_causal=True),
    "truth values": fused(attn_mask=~HIDDEN),
    "a mask that is added": fused(attn_mask=torch.full((5, 5), NEVER).triu(1)),
    "MultiheadAttention": Form(
        "",
        lambda n, x: n.layer(x, x, x, attn_mask=nn.Transformer.generate_square_subsequent_mask(5))[0],
        lambda: {"layer": nn.MultiheadAttention(8, 2, batch_first=True)},
        TOKENS,
        NEAR,
    ),
}


@pytest.mark.parametrize("name", MASKS)
def test_a_mask_converts(name):
    MASKS[name].check()


def test_a_mask_leaves_the_codes_of_scores_apart():
    """Codes from -1e9 on would have one code for all that is seen."""
    torch.manual_seed(0)
    network = MASKS["a large number, added"].network()
    space = searchable(network, torch.randn(2, 5, 8))
    space.calibrate([torch.randn(64, 5, 8)])
    (sums,) = [block for block in space.blocks if block.spec.op == "add"]
    assert sums.output.step * 255 < 40
    assert "raised to 16 below" in space.spec.left_alone["add.constant"]


def test_a_sum_that_something_else_reads_too_keeps_its_constant():
    def form(n, x):
        scores = n.q(x) @ n.k(x).transpose(1, 2) + n.far
        return n.o(scores.softmax(-1) @ x), scores

    far = -30 * torch.rand(1, 5, 5)
    layers = {name: nn.Linear(8, 8) for name in "qko"}
    network = Form("", form, lambda: layers | {"far": far}, TOKENS).network()
    space, x = searchable(network, torch.randn(2, 5, 8)).eval(), torch.randn(3, 5, 8)
    (constant,) = [block for block in space.blocks if block.spec.op == "constant"]
    assert torch.equal(constant.values.flatten().sort()[0], far.flatten().sort()[0])
    assert not any("raised" in reason for reason in space.spec.left_alone.values())
    for found, wanted in zip(space(x), network(x), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def image(form, **parts):
    return lambda: searchable(Form("", form, lambda: parts).network(), torch.randn(2, 3, 4, 6))


def test_parameters_that_are_read_twice_are_stored_once():
    scale, places = nn.Parameter(torch.randn(8, 1, 1)), nn.Parameter(torch.randn(1, 8, 4, 6))
    square = {"d": nn.Conv2d(8, 8, 1)}
    slopes = image(lambda n, x: n.b(n.p(n.d(n.p(n.a(x))))), p=nn.PReLU(8), **square)()
    assert list(slopes.norms) == ["p.slope"]
    scaled = image(lambda n, x: n.b(n.g * F.relu(n.d(F.relu(n.a(x)) * n.g))), g=scale, **square)()
    assert list(scaled.norms) == ["g.scale"]
    moved = image(lambda n, x: n.b(F.relu(n.d(n.a(x) + n.g)) + n.g), g=places, **square)()
    assert [block.name for block in moved.blocks if block.spec.op == "constant"] == ["add.constant"]


@pytest.mark.parametrize(
    "form",
    [
        lambda n, x: n.c(n.a(x).unflatten(1, (2, 4)).unsqueeze(3).sum(1).squeeze(2).repeat(1, 2, 1, 1)[:, :3]),
        lambda n, x: n.b((n.a(x).unflatten(2, (2, 2)).unflatten(4, (3, 2)) * n.g).flatten(2, 3).flatten(3, 4)),
        lambda n, x: n.b(torch.tile(n.a(x), (1, 2))),
        lambda n, x: n.b(torch.addcmul(n.a(x), n.c(x), n.a(x), value=0.5)),
    ],
    ids=["a sum of channels of five axes", "a scale of five axes", "tile with fewer numbers", "addcmul"],
)
def test_forms_with_many_axes_convert(form):
    Form("", form, lambda: {"g": nn.Parameter(torch.randn(8, 1, 1, 1, 1))}).check()
