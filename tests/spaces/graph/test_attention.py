"""Products of tensors, and attention in all the ways in which it is written."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.spaces.graph.converting import Form

NEAR = 1e-4  # of the largest output
TOKENS, PAIR = ((5, 6),), ((5, 6), (3, 6))
CAUSAL = torch.full((5, 5), -16.0).triu(1)  # what is added where nothing should be seen


class Attention(nn.Module):
    """As vision transformers write it: one layer for queries, keys and values."""

    def __init__(self, width: int, heads: int, mask: Tensor | None = None, fused: bool = False) -> None:
        super().__init__()
        self.qkv, self.out, self.heads, self.fused = nn.Linear(width, 3 * width), nn.Linear(width, width), heads, fused
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor) -> Tensor:
        n, tokens, width = x.shape
        each = self.qkv(x).reshape(n, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = each.unbind(0)
        if self.fused:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=self.mask)
        else:
            scores = (q @ k.transpose(-2, -1)) * (width // self.heads) ** -0.5
            y = (scores if self.mask is None else scores + self.mask).softmax(-1) @ v
        return self.out(y.transpose(1, 2).reshape(n, tokens, width))


class Separate(nn.Module):
    """A layer each for queries, keys and values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(width, width) for _ in range(4))
        self.heads = heads

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        q, k, v = (z.unflatten(2, (self.heads, -1)).transpose(1, 2) for z in (self.q(x), self.k(y), self.v(y)))
        return self.out((torch.softmax(q @ k.transpose(2, 3) / 2, -1) @ v).transpose(1, 2).flatten(2))


def two(first, second):
    """Layers p and q over tokens of 6 features."""
    return lambda: {"p": nn.Linear(6, first), "q": nn.Linear(6, second)}


def attending(make, form=None, shapes=TOKENS):
    """A layer of 8 features between two linear ones."""
    return Form("", form or of_tokens, lambda: {"a": nn.Linear(shapes[0][-1], 8), "layer": make()}, shapes, NEAR)


def encoder(form=None, **arguments):
    return attending(lambda: nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, **arguments), form)


def multihead(form=None, shapes=TOKENS, heads=2, **arguments):
    return attending(lambda: nn.MultiheadAttention(8, heads, batch_first=True, **arguments), form or of_itself, shapes)


def of_tokens(n, x):
    return n.h(n.layer(n.a(x)).mean(1))


def of_another(n, x, y):
    return n.h(n.layer(n.a(x), n.a(y)).mean(1))


def of_itself(n, x, **arguments):
    y = n.a(x)
    return n.h(n.layer(y, y, y, **arguments)[0].mean(1))


PRODUCTS = {
    "matmul": lambda p, q: torch.matmul(p, q.transpose(1, 2)),
    "bmm": lambda p, q: torch.bmm(p.transpose(1, 2), q),
    "@": lambda p, q: p @ q.transpose(1, 2),
    "outer": lambda p, q: p.mean(1)[:, :, None] @ q.mean(1)[:, None],
    "einsum": lambda p, q: torch.einsum("nac,nbc->nab", p, q),
    "of heads": lambda p, q: p.unflatten(2, (2, 4)).transpose(1, 2) @ q.unflatten(2, (2, 4)).permute(0, 2, 3, 1),
    "of two dimensions of heads": lambda p, q: (
        p.view(-1, 5, 2, 2, 2).permute(0, 2, 3, 1, 4) @ q.view(-1, 5, 2, 2, 2).permute(0, 2, 3, 4, 1)
    ),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_a_product_of_tensors_is_exact(name):
    product = PRODUCTS[name]
    form = Form("", lambda n, x: n.h(product(n.p(x), n.q(x)).flatten(1)), two(8, 8), TOKENS, NEAR)
    operators = [block.op for block in form.check().spec.blocks]
    assert operators.count("matmul") == 1


CONSTANT = {
    "of tokens": lambda n, x: n.h((n.a(x) @ n.weight).mean(1)),
    "of features": lambda n, x: n.h(torch.mm(n.a(x).mean(1), n.weight)),
    "transposed": lambda n, x: n.h(n.a(x).mean(1) @ n.other.T),
}


@pytest.mark.parametrize("name", CONSTANT)
def test_a_product_with_a_parameter_is_a_layer_that_learns(name):
    def others():
        numbers = {"weight": nn.Parameter(torch.randn(8, 4)), "other": nn.Parameter(torch.randn(4, 8))}
        return {"a": nn.Linear(6, 8)} | numbers

    space = Form("", CONSTANT[name], others, TOKENS, NEAR).check().train()
    assert "matmul" not in {block.op for block in space.spec.blocks}
    space(torch.randn(4, 5, 6)).square().sum().backward()
    (layer,) = space.weights.keys() - {"a", "h"}
    assert space.weights[layer].weight.grad.abs().sum() > 0


ATTENTION = {
    "one head": attending(lambda: Attention(8, 1)),
    "two heads": attending(lambda: Attention(8, 2)),
    "fused": attending(lambda: Attention(8, 2, fused=True)),
    "a mask": attending(lambda: Attention(8, 2, CAUSAL)),
    "a mask, fused": attending(lambda: Attention(8, 2, CAUSAL, fused=True)),
    "another scale": Form(
        "",
        lambda n, x: n.h(F.scaled_dot_product_attention(n.p(x), n.q(x), n.p(x), scale=0.1).mean(1)),
        two(8, 8),
        TOKENS,
        NEAR,
    ),
    "a layer each": attending(lambda: Separate(8, 2), lambda n, x: n.h(n.layer(y := n.a(x), y).mean(1))),
    "of another sequence": attending(lambda: Separate(8, 2), of_another, PAIR),
    "of places": Form(
        "",
        lambda n, x: n.h(n.layer(n.a(x).flatten(2).transpose(1, 2)).mean(1)),
        lambda: {"layer": Attention(8, 2)},
        ((3, 2, 3),),
        NEAR,
    ),
    "MultiheadAttention": multihead(),
    "MultiheadAttention without weights": multihead(lambda n, x: of_itself(n, x, need_weights=False)),
    "MultiheadAttention with a mask": multihead(
        lambda n, x: of_itself(n, x, need_weights=False, attn_mask=CAUSAL),
    ),
    "MultiheadAttention without bias": multihead(heads=4, bias=False),
    "MultiheadAttention with learned keys": multihead(add_bias_kv=True),
    "MultiheadAttention of other widths": multihead(
        lambda n, x, y: n.h(n.layer(n.a(x), y, y)[0].mean(1)), ((5, 6), (4, 3)), kdim=3, vdim=3
    ),
    "TransformerEncoderLayer": encoder(),
    "TransformerEncoderLayer, norms first": encoder(norm_first=True, activation="gelu"),
    "TransformerEncoderLayer with a mask": encoder(lambda n, x: n.h(n.layer(n.a(x), CAUSAL).mean(1))),
    "TransformerEncoder": attending(
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 12, batch_first=True), 2, nn.LayerNorm(8))
    ),
    "TransformerDecoderLayer": attending(
        lambda: nn.TransformerDecoderLayer(8, 2, 12, batch_first=True), of_another, PAIR
    ),
}


@pytest.mark.parametrize("name", ATTENTION)
def test_attention_is_exact(name):
    operators = [block.op for block in ATTENTION[name].check().spec.blocks]
    assert operators.count("matmul") == 2 * operators.count("softmax") > 0


def test_layers_of_attention_keep_their_names():
    space = ATTENTION["TransformerEncoderLayer"].check()
    assert set(space.weights) == {
        *("a", "layer.self_attn.in_proj_weight", "layer.self_attn.out_proj", "layer.linear1", "layer.linear2", "h"),
    }
    assert set(space.norms) == {"layer.norm1", "layer.norm2"}


def test_every_layer_of_an_encoder_gets_a_gradient():
    space = ATTENTION["TransformerEncoderLayer"].check().train()
    space(torch.randn(4, 5, 6)).square().sum().backward()
    for name, layer in [*space.weights.items(), *space.norms.items()]:
        assert layer.weight.grad.abs().sum() > 0, name
