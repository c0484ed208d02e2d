"""Sums, means, extremes and spreads over any dimensions; functions, quotients and norms."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.spaces.graph.converting import Form

SEQUENCE = ((3, 7),)
CUBE = ((2, 2, 3, 4),)
NORMED = 1e-4  # of the largest output: norms multiply what sums of float32 lose


def flat(operators, form):
    """The linear layer h reads what the form makes of the 8 channels."""
    return Form(operators, lambda n, x: n.h(form(n.a(x)).flatten(1)))


def maps(operators, form, shapes=((3, 4, 6),)):
    """The convolution b reads what the form makes of the 8 channels."""
    return Form(operators, lambda n, x: n.b(form(n.a(x))), shapes=shapes)


CHOSEN = {
    "where": maps("conv conv", lambda x: torch.where(x > 0.25, x, -x)),
    "where, of numbers": maps("conv conv", lambda x: torch.where(x <= 0, 1.0, x)),
    "where, of two tensors": Form(
        "conv table conv mul table mul add conv",
        lambda n, x: n.b(torch.where((y := n.a(x)) < 0, y, n.c(x))),
    ),
    "masked_fill": maps("conv constant mul constant add conv", lambda x: x.masked_fill(torch.eye(4, 6) > 0, -1.0)),
    "a part that is filled": Form("", lambda n, x: n.b(filled(n.a(x)))),
    "glu": Form("conv take take table mul conv", lambda n, x: n.d(F.glu(n.a(x), 1)), lambda: {"d": nn.Conv2d(4, 2, 1)}),
    "minimum": Form("", lambda n, x: n.b(torch.minimum(n.a(x), n.c(x)))),
    "var_mean": Form(
        "", lambda n, x: n.h(torch.cat(torch.var_mean(n.a(x), (2, 3)), 1)), lambda: {"h": nn.Linear(16, 2)}
    ),
    "baddbmm": Form("", lambda n, x: torch.baddbmm(x, x, x), shapes=((4, 4),)),
    "hstack": Form(
        "conv conv concat conv", lambda n, x: n.d(torch.hstack((n.a(x), n.c(x)))), lambda: {"d": nn.Conv2d(16, 2, 1)}
    ),
    "T": Form("", lambda n, x: n.h((n.a(x).mean((2, 3)).T * 2).T)),
}


def filled(x):
    x = x.clone()
    x[:, :1] = 0
    return x


@pytest.mark.parametrize("name", CHOSEN)
def test_what_is_chosen_filled_or_gated_converts(name):
    CHOSEN[name].check()


REDUCED = {
    "sum of maps": flat("conv avg_pool reshape linear", lambda x: x.sum((2, 3))),
    "sum of rows": flat("conv avg_pool reshape linear", lambda x: x.sum(-1)),
    "sum of channels": flat("conv conv reshape linear", lambda x: x.sum(1)),
    "sum of channels, kept": maps("conv conv conv", lambda x: x.sum(1, keepdim=True)),
    "sum of all": flat("conv avg_pool conv reshape linear", lambda x: x.sum((1, 2, 3), keepdim=True)),
    "mean of channels": maps("conv conv conv", lambda x: x.mean(1, keepdim=True)),
    "mean of channels and rows": flat("conv avg_pool conv reshape linear", lambda x: x.mean((1, 3))),
    "mean of columns": flat("conv avg_pool reshape linear", lambda x: x.mean(2)),
    "mean of rows, kept": maps("conv avg_pool conv", lambda x: x.mean(3, keepdim=True)),
    "mean of a sequence": maps("conv avg_pool conv", lambda x: x.mean(2, keepdim=True), SEQUENCE),
    "mean of a cube": maps("conv avg_pool conv", lambda x: x.mean((2, 4), keepdim=True), CUBE),
    "mean of two of five dimensions": flat(
        "conv reshape reshape avg_pool reshape reshape linear", lambda x: x.view(-1, 8, 2, 2, 3, 2).mean((2, 3))
    ),
    "max of rows": flat("conv max_pool reshape linear", lambda x: x.max(2)[0]),
    "max of channels": maps("conv permute max_pool reshape conv", lambda x: x.max(1, keepdim=True).values),
    "amax of maps": flat("conv max_pool reshape linear", lambda x: x.amax((2, 3))),
    "amax of all": flat("conv reshape max_pool reshape linear", lambda x: x.amax((1, 2, 3), keepdim=True)),
    "amax of channels and rows": flat("conv permute max_pool reshape linear", lambda x: x.amax((1, 3))),
    "min of rows": flat("conv max_pool table reshape linear", lambda x: x.min(2)[0]),
    "amin of maps, kept": maps("conv max_pool table conv", lambda x: x.amin((2, 3), keepdim=True)),
    "var": flat("conv avg_pool add avg_pool reshape linear", lambda x: x.var((2, 3))),
    "var without correction": flat(
        "conv avg_pool add avg_pool reshape linear", lambda x: x.var((2, 3), unbiased=False)
    ),
    "var with another correction": flat("conv avg_pool add avg_pool reshape linear", lambda x: x.var(2, correction=3)),
    "var of channels": maps("conv conv add conv conv", lambda x: x.var(1, keepdim=True)),
    "length": flat("conv conv reshape linear", lambda x: torch.linalg.vector_norm(x, dim=1)),
    "norm of maps": flat("conv avg_pool reshape linear", lambda x: x.norm(dim=(2, 3))),
    "std": flat("conv avg_pool add avg_pool reshape linear", lambda x: x.std((2, 3))),
    "std of channels, kept": maps("conv conv add conv conv", lambda x: x.std(1, keepdim=True)),
}

TWO = {
    "maximum": Form(
        "conv conv reshape reshape concat max_pool reshape conv", lambda n, x: n.b(torch.maximum(n.a(x), n.c(x)))
    ),
    "max of two": Form(
        "conv conv reshape reshape concat max_pool reshape conv", lambda n, x: n.b(torch.max(n.a(x), n.c(x)))
    ),
    "quotient": Form("conv conv mul conv", lambda n, x: n.b(n.a(x) / (n.c(x).abs() + 1))),
    "quotient by a sum": Form(
        "conv table conv mul conv", lambda n, x: n.b((y := n.a(x)) / (y.abs().sum(1, keepdim=True) + 1))
    ),
    "quotient by the last row": Form(
        "conv conv take table mul conv", lambda n, x: n.b(n.a(x) / n.c(x).exp()[:, :, -1:])
    ),
    "product with the first row": Form("conv conv take mul conv", lambda n, x: n.b(n.a(x) * n.c(x)[:, :, :1])),
    "sum with the first channel": Form("conv take take add conv", lambda n, x: n.b((y := n.a(x))[:, 1:] + y[:, :1])),
    "quotient of a number": maps("conv conv", lambda x: 2 / (x.abs() + 1)),
    "root mean square by hand": maps(
        "conv table conv mul conv", lambda x: x * torch.rsqrt((x * x).mean(1, keepdim=True) + 1)
    ),
    "normalize": Form("conv table conv mul conv", lambda n, x: n.b(F.normalize(n.a(x), dim=1))),
    "difference from a mean": Form(
        "conv conv avg_pool add conv", lambda n, x: n.b(n.a(x) - n.c(x).mean((2, 3), keepdim=True))
    ),
    "means of rows": Form(
        "conv avg_pool conv avg_pool mul conv",
        lambda n, x: n.b(n.a(x).mean(3, keepdim=True) * n.c(x).mean(3, keepdim=True).abs()),
    ),
}

FUNCTIONS = {
    "abs": torch.abs,
    "sqrt": lambda x: (x.abs() + 1).sqrt(),
    "rsqrt": lambda x: torch.rsqrt(x.abs() + 1),
    "reciprocal": lambda x: (x.abs() + 1).reciprocal(),
    "exp": torch.exp,
    "expm1": torch.expm1,
    "log": lambda x: torch.log(x.abs() + 1),
    "erf": torch.erf,
    "sin": torch.sin,
    "cos": torch.cos,
    "pow": lambda x: x.pow(3),
    "pow of a fraction": lambda x: (x.abs() + 1) ** 0.5,
    "pow of a negative number": lambda x: (x.abs() + 1) ** -1.5,
    "pow of a tensor": lambda x: x ** torch.tensor(3.0),
    "hardshrink": lambda x: F.hardshrink(x, 0.3),
    "softshrink": lambda x: F.softshrink(x, 0.3),
    "tanhshrink": F.tanhshrink,
    "threshold": lambda x: F.threshold(x, 0.1, -1.0),
    "logsigmoid": F.logsigmoid,
    "clamp from below": lambda x: x.clamp(min=-0.2),
    "clamp by a tensor of one number": lambda x: x.clamp(max=torch.tensor(0.4)),
}

PRELUS = {
    "PReLU of one slope": Form("conv conv", lambda n, x: n.b(n.p(n.a(x))), lambda: {"p": nn.PReLU()}),
    "PReLU of many slopes": Form(
        "conv table table conv add conv", lambda n, x: n.b(n.p(n.a(x))), lambda: {"p": nn.PReLU(8)}
    ),
    "PReLU of a sequence": Form(
        "conv table table conv add conv", lambda n, x: n.b(n.p(n.a(x))), lambda: {"p": nn.PReLU(8)}, SEQUENCE
    ),
    "PReLU of features": Form(
        "linear table table reshape conv reshape add linear",
        lambda n, x: n.h(n.p(n.a(x))),
        lambda: {"p": nn.PReLU(8)},
        ((3,),),
    ),
}

EXPONENTIALS = {
    "softmax of channels": maps("conv softmax conv", lambda x: x.softmax(1)),
    "softmax of rows": maps("conv softmax conv", lambda x: x.softmax(-1)),
    "softmax of columns": maps("conv softmax conv", lambda x: F.softmax(x, 2)),
    "softmax of places": flat("conv reshape softmax reshape linear", lambda x: x.flatten(2).softmax(-1)),
    "softmax of groups": maps(
        "conv reshape softmax reshape conv", lambda x: x.view(-1, 2, 4, 4, 6).softmax(2).flatten(1, 2)
    ),
    "softmax of features": Form("linear softmax linear", lambda n, x: n.h(n.a(x).softmax(1)), shapes=((3,),)),
    "Softmax2d": maps("conv softmax conv", nn.Softmax2d()),
    "Softmin": maps("conv softmax conv", nn.Softmin(1)),
    "log_softmax at the end": Form("conv conv softmax table", lambda n, x: F.log_softmax(n.b(n.a(x)), 1)),
    "log_softmax of rows": maps("conv softmax table conv", lambda x: F.log_softmax(x, 3)),
}

PLAIN, POINTWISE = "conv normalize conv", "conv normalize constant mul constant add conv"
TOKENS = "conv reshape normalize avg_pool reshape linear"


def norm(operators, make, form=lambda n, x: n.b(n.norm(n.a(x))), shapes=((3, 4, 6),)):
    def others():
        made = make()
        for parameter in made.parameters():
            nn.init.normal_(parameter)
        return {"norm": made}

    return Form(operators, form, others, shapes, NORMED)


def tokens(n, x):
    return n.h(n.norm(n.a(x).flatten(2).transpose(1, 2)).mean(1))


def features(n, x):
    return n.h(n.norm(n.a(x)))


NORMS = {
    "LayerNorm of tokens": norm(TOKENS, lambda: nn.LayerNorm(8), tokens),
    "LayerNorm of features": norm("linear normalize linear", lambda: nn.LayerNorm(8), features, ((3,),)),
    "LayerNorm without bias": norm(TOKENS, lambda: nn.LayerNorm(8, bias=False), tokens),
    "LayerNorm of all": norm(POINTWISE, lambda: nn.LayerNorm((8, 4, 6))),
    "LayerNorm of rows": norm(POINTWISE, lambda: nn.LayerNorm(6)),
    "LayerNorm of maps": norm(POINTWISE, lambda: nn.LayerNorm((4, 6))),
    "LayerNorm without numbers": norm(PLAIN, lambda: nn.LayerNorm((8, 4, 6), elementwise_affine=False)),
    "LayerNorm of channels last": norm(
        PLAIN, lambda: nn.LayerNorm(8), lambda n, x: n.b(n.norm(n.a(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2))
    ),
    "GroupNorm": norm(PLAIN, lambda: nn.GroupNorm(2, 8)),
    "GroupNorm of one group": norm(PLAIN, lambda: nn.GroupNorm(1, 8)),
    "GroupNorm of as many groups": norm(PLAIN, lambda: nn.GroupNorm(8, 8)),
    "GroupNorm without numbers": norm(PLAIN, lambda: nn.GroupNorm(4, 8, affine=False)),
    "GroupNorm of features": norm("linear normalize linear", lambda: nn.GroupNorm(2, 8), features, ((3,),)),
    "InstanceNorm1d": norm(PLAIN, lambda: nn.InstanceNorm1d(8), shapes=SEQUENCE),
    "InstanceNorm2d": norm(PLAIN, lambda: nn.InstanceNorm2d(8, affine=True)),
    "InstanceNorm3d": norm(PLAIN, lambda: nn.InstanceNorm3d(8), shapes=CUBE),
    "RMSNorm of tokens": norm(TOKENS, lambda: nn.RMSNorm(8), tokens),
    "RMSNorm with eps": norm("linear normalize linear", lambda: nn.RMSNorm(8, eps=1e-2), features, ((3,),)),
    "RMSNorm of all": norm("conv normalize constant mul conv", lambda: nn.RMSNorm((8, 4, 6))),
    "BatchNorm1d of tokens": norm(
        "conv reshape conv avg_pool reshape linear",
        lambda: nn.BatchNorm1d(8),
        lambda n, x: n.h(n.norm(n.a(x).flatten(2)).mean(2)),
    ),
}

ALL = {
    "reduced": REDUCED,
    "two": TWO,
    "function": {name: maps("conv conv", function) for name, function in FUNCTIONS.items()} | PRELUS,
    "exponential": EXPONENTIALS,
    "norm": NORMS,
}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, forms in ALL.items() for name in forms])
def test_what_computes_with_several_elements_is_exact(kind, name):
    ALL[kind][name].check()


@pytest.mark.parametrize("name", ["LayerNorm of tokens", "GroupNorm", "InstanceNorm2d", "RMSNorm of tokens"])
def test_numbers_of_a_norm_are_one_for_each_channel_and_learn(name):
    space = NORMS[name].check()
    (norm,) = space.norms.values()
    assert list(space.norms) == ["norm"] and not norm.statistics and norm.weight.shape == (8,)
    space = NORMS[name].check().train()
    space(torch.randn(2, 3, 4, 6)).square().sum().backward()
    (norm,) = space.norms.values()
    assert norm.weight.grad.abs().sum() > 0
    assert (norm.bias.grad is None) == (name == "RMSNorm of tokens")


def test_slopes_of_a_prelu_learn_and_one_slope_is_taken_as_it_is():
    space = PRELUS["PReLU of many slopes"].check().train()
    space(torch.randn(2, 3, 4, 6)).square().sum().backward()
    (norm,) = space.norms.values()
    assert norm.weight.grad.abs().sum() > 0 and norm.bias.grad is None
    one = PRELUS["PReLU of one slope"].check()
    assert not one.norms and one.spec.left_alone["p/parameters"].startswith("its learned number is taken")


def test_shares_of_a_softmax_are_on_a_grid_of_powers_of_two():
    space = EXPONENTIALS["softmax of rows"].check()
    assert space.spec.quantizers["softmax"].grid == (2.0**-8, 0)
