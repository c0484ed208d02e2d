"""Every rule of the graph pass, by module, function and method: the Space gives what the model gives."""

import re
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from spaces.graph.ops import RULES
from spaces.one_of import Select
from spaces.searchable import searchable

MODULES = [key for key in RULES if isinstance(key, type)]
METHODS = [key for key in RULES if isinstance(key, str)]
FUNCTIONS = [key for key in RULES if not isinstance(key, (type, str))]

CONV = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)

MODULE_ARGUMENTS = {
    nn.Linear: (4, 3),
    **dict.fromkeys((nn.Conv1d, nn.Conv2d, nn.Conv3d), (4, 3, 3)),
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), (4,)),
    **dict.fromkeys((nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d), (2,)),
    **{cls: (2,) for cls in MODULES if cls.__name__.startswith("Adaptive")},
    **dict.fromkeys((nn.Upsample, nn.UpsamplingNearest2d), (None, 2)),
    **{cls: (1,) for cls in MODULES if cls.__name__.startswith("ZeroPad")},
    **{cls: (1, 0.0) for cls in MODULES if cls.__name__.startswith("ConstantPad")},
}
BY_HAND = {
    "conv1d": lambda net, x: F.conv1d(x, net.weight[1], net.bias, 1, 1),
    "conv2d": lambda net, x: F.conv2d(x, net.weight[2], bias=net.bias, dilation=2, padding="same"),
    "conv3d": lambda net, x: F.conv3d(x, net.weight[3], stride=2),
    "interpolate": lambda net, x: F.interpolate(x, (12, 18)),
    "linear": lambda net, x: F.linear(x, net.weight[0], net.bias),
    "cat": lambda net, x: torch.cat((x, F.relu(x)), 1),
    "concat": lambda net, x: torch.concat([x, F.relu(x)], dim=-3),
    "dropout": lambda net, x: F.dropout(x, 0.5, net.training),
    "dropout1d": lambda net, x: F.dropout1d(x, training=net.training),
    "dropout2d": lambda net, x: F.dropout2d(x, training=net.training),
    "dropout3d": lambda net, x: F.dropout3d(x, training=net.training),
    "alpha_dropout": lambda net, x: F.alpha_dropout(x, training=net.training),
    "pad": lambda net, x: F.conv2d(F.pad(x, (2, 0, 1, 3)), net.weight[2]),
    "flatten": lambda net, x: torch.flatten(x, start_dim=1),
    "reshape": lambda net, x: torch.reshape(x, (x.shape[0], -1)),
    "squeeze": lambda net, x: torch.squeeze(F.adaptive_avg_pool2d(x, 1)),
    "mean": lambda net, x: torch.mean(x, (-1, -2)),
}
NUMBER = {"add": 0.5, "add_": 1, "iadd": 2.0, "sub": 3, "mul": -0.5, "mul_": 2, "imul": 0.25, "div": 6, "truediv": 4.0}
BY_HAND_METHODS = {
    "flatten": lambda net, x: x.flatten(1),
    "reshape": lambda net, x: x.reshape(x.size(0), 144),
    "view": lambda net, x: x.view(x.size(0), -1),
    "squeeze": lambda net, x: x.mean((2, 3), keepdim=True).squeeze(),
    "mean": lambda net, x: x.mean((2, 3)),
}


class Net(nn.Module):
    """A convolution (or a linear layer) -> the form."""

    def __init__(self, dims: int, form) -> None:
        super().__init__()
        self.first = CONV[dims](4, 4, *(1,) * (dims > 0))
        self.form = form if isinstance(form, nn.Module) else partial(form, self)
        self.weight = nn.ParameterList(torch.randn(3, 4, *(3,) * d) for d in range(4))
        self.bias = nn.Parameter(torch.randn(3))

    def forward(self, x):
        return self.form(self.first(x))


def assert_same(dims: int, form) -> None:
    torch.manual_seed(0)
    net, x = Net(dims, form).eval(), torch.randn(2, 4, *(6,) * dims)
    for norm in [m for m in net.modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d))]:
        if norm.affine:
            nn.init.uniform_(norm.weight, -2, 2)
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.1, 2)
    space = searchable(net, x).eval()
    with torch.no_grad():
        torch.testing.assert_close(space(x), net(x))


def dims_of(name: str) -> int:
    """2, unless the name says otherwise."""
    found = re.search(r"([123])d", name)
    return int(found[1]) if found else 0 if name.lower() == "linear" else 2


@pytest.mark.parametrize("cls", [cls for cls in MODULES if cls is not Select], ids=lambda cls: cls.__name__)
def test_modules(cls):
    dims, module = dims_of(cls.__name__), cls(*MODULE_ARGUMENTS.get(cls, ()))
    padding = cls.__name__.startswith(("ZeroPad", "ConstantPad"))  # which a convolution takes over
    assert_same(dims, nn.Sequential(module, CONV[dims](4, 3, 3)) if padding else module)


def function_form(function):
    name = function.__name__
    if name in BY_HAND:
        return BY_HAND[name]
    if name in NUMBER:
        return lambda net, x: function(x, NUMBER[name])
    if "pool" in name:
        return lambda net, x: function(x, 2)
    return lambda net, x: function(x)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f"{f.__module__}.{f.__name__}")
def test_functions(function):
    assert_same(dims_of(function.__name__), function_form(function))


@pytest.mark.parametrize("name", METHODS)
def test_methods(name):
    arguments = (NUMBER[name],) if name in NUMBER else ()
    assert_same(2, BY_HAND_METHODS.get(name, lambda net, x: getattr(x, name)(*arguments)))


@pytest.mark.parametrize(
    "form",
    [
        lambda net, x: F.relu(input=x, inplace=True),
        lambda net, x: F.max_pool2d(x, 3, 2, 1, 1, True),
        lambda net, x: F.max_pool2d(x, kernel_size=(2, 3), stride=1, dilation=2),
        lambda net, x: F.avg_pool2d(x, (3, 2), padding=(1, 0)),
        lambda net, x: F.avg_pool2d(x, 6, 2, 3),  # as large as the image, and moved over its border
        lambda net, x: F.adaptive_avg_pool2d(x, (None, 3)),
        lambda net, x: F.leaky_relu(x, negative_slope=0.3),
        lambda net, x: F.hardtanh(x, -0.5, 2.0),
        lambda net, x: F.elu(x, 0.5),
        lambda net, x: 3 + x,
        lambda net, x: 2 * x / 6 - 1,
        lambda net, x: x * F.relu6(x + 3) / 6,
        lambda net, x: x + F.relu(x) * torch.sigmoid(x),
        lambda net, x: x * x.mean((2, 3), keepdim=True),
        lambda net, x: x.mean([-2, -1]).mul(net.first.weight[0, 0, 0, 0]),
        lambda net, x: torch.cat((F.dropout(x, 0.5, False), x), 1),
        lambda net, x: F.relu(net.first(F.relu(x))) + x,
        lambda net, x: torch.flatten(x, 1).view(2, -1),
    ],
)
def test_other_ways_to_call(form):
    assert_same(2, form)


@pytest.mark.parametrize(
    "dims, resize",
    [
        (1, nn.Upsample(scale_factor=3)),
        (2, nn.Upsample(size=(6, 18))),
        (2, nn.Upsample(scale_factor=(2, 1), mode="nearest-exact")),
        (3, lambda net, x: F.interpolate(x, scale_factor=2.0)),
        (2, lambda net, x: F.interpolate(x, None, 1)),
        (2, lambda net, x: F.interpolate(x, size=x.shape[2:], mode="nearest")),
    ],
)
def test_upsampling(dims, resize):
    assert_same(dims, resize)


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu(approximate):
    assert_same(2, nn.GELU(approximate))


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_norm_alone_and_norm_without_affine(dims, affine):
    norm = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)[dims - 1]
    before = nn.ReLU() if affine else CONV[dims](4, 4, 1)
    assert_same(dims, nn.Sequential(before, norm(4, affine=affine)))


@pytest.mark.parametrize("name", ["values", "keys", "update", "clear", "items"])
def test_a_layer_may_have_the_name_of_an_attribute(name):
    net = nn.Sequential()
    net.add_module(name, nn.Conv2d(3, 4, 1))
    net.add_module("norm", nn.BatchNorm2d(4))
    net.add_module("head", nn.Conv2d(4, 2, 1))
    x = torch.randn(2, 3, 4, 4)
    space = searchable(net, x).eval()
    space.decisions[f"{name}/channels"].fix((1, 0, 1, 0))
    assert space.decide().weights[name].weight.shape == (2, 3, 1, 1)
    with torch.no_grad():
        torch.testing.assert_close(space(x), net.eval()(x))
