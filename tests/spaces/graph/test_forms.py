"""Every rule of the graph pass, by module, function and method: the Space gives what the model gives."""

import operator
import re
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from spaces.searchable import searchable
from tests.spaces.graph.forms import MODULES

FUNCTIONS = [
    *(F.relu, torch.relu, torch.relu_, F.relu6, F.hardtanh, F.hardswish, F.hardsigmoid, F.sigmoid, torch.sigmoid),
    *(
        F.tanh,
        torch.tanh,
        F.silu,
        F.gelu,
        F.mish,
        F.elu,
        F.selu,
        F.celu,
        F.softplus,
        F.leaky_relu,
        F.softsign,
        torch.neg,
    ),
    *(torch.add, operator.add, operator.iadd, torch.sub, operator.sub, torch.mul, operator.mul, operator.imul),
    *(torch.div, operator.truediv, torch.multiply, torch.subtract, torch.divide, torch.rsub),
    *(torch.cat, torch.concat, torch.concatenate, torch.flatten, torch.reshape, torch.squeeze, torch.clone, F.pad),
    *(F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.interpolate, torch.mean),
    *(F.max_pool1d, F.max_pool2d, F.max_pool3d, F.avg_pool1d, F.avg_pool2d, F.avg_pool3d),
    *(F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d),
    *(F.adaptive_max_pool1d, F.adaptive_max_pool2d, F.adaptive_max_pool3d, F.conv1d, F.conv2d, F.conv3d, F.linear),
]
METHODS = ["relu", "relu_", "sigmoid", "sigmoid_", "tanh", "add", "add_", "sub", "sub_", "mul", "mul_", "div", "neg"]
METHODS += ["mean", "flatten", "reshape", "squeeze", "view", "contiguous", "clone", "float", "detach"]

CONV = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)

MODULE_ARGUMENTS = {
    nn.Linear: (4, 3),
    **dict.fromkeys((nn.Conv1d, nn.Conv2d, nn.Conv3d), (4, 3, 3)),
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), (4,)),
    **dict.fromkeys((nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d), (2,)),
    **{cls: (2,) for cls in MODULES if cls.__name__.startswith("Adaptive")},
    **dict.fromkeys((nn.Upsample, nn.UpsamplingNearest2d), (None, 2)),
    **dict.fromkeys((nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d), (4, 3, 3, 2)),
    **dict.fromkeys((nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d), (4,)),
    **dict.fromkeys((nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle), (2,)),
    **dict.fromkeys((nn.Softmax, nn.Softmin, nn.LogSoftmax), (1,)),
    **dict.fromkeys((nn.LayerNorm, nn.RMSNorm), (6,)),
    nn.GroupNorm: (2, 4),
    nn.LocalResponseNorm: (3,),
    nn.PReLU: (4,),
    nn.Threshold: (0.1, -1.0),
    nn.Unflatten: (1, (2, 2)),
    nn.UpsamplingBilinear2d: (None, 2),
    **{cls: (1,) for cls in MODULES if cls.__name__.startswith(("ZeroPad", "Refl", "Repl", "Circ"))},
    **{cls: (1, 0.0) for cls in MODULES if cls.__name__.startswith("ConstantPad")},
}
# Layers that read tokens of 6 features, and how.
encoder_layer = partial(nn.TransformerEncoderLayer, 6, 2, 8, batch_first=True)
decoder_layer = partial(nn.TransformerDecoderLayer, 6, 2, 8, batch_first=True)
TOKENS = {
    nn.MultiheadAttention: (lambda: nn.MultiheadAttention(6, 2, batch_first=True), lambda m, x: m(x, x, x)[0]),
    nn.Transformer: (lambda: nn.Transformer(6, 2, 1, 1, 8, batch_first=True), lambda m, x: m(x, x)),
    nn.TransformerEncoderLayer: (encoder_layer, lambda m, x: m(x)),
    nn.TransformerEncoder: (lambda: nn.TransformerEncoder(encoder_layer(), 2), lambda m, x: m(x)),
    nn.TransformerDecoderLayer: (decoder_layer, lambda m, x: m(x, x)),
    **{kind: (partial(kind, 6, 5, 2, batch_first=True), lambda m, x: m(x)[0]) for kind in (nn.LSTM, nn.GRU, nn.RNN)},
    nn.TransformerDecoder: (lambda: nn.TransformerDecoder(decoder_layer(), 2), lambda m, x: m(x, x)),
}

BY_HAND = {
    "conv1d": lambda net, x: F.conv1d(x, net.weight[1], net.bias, 1, 1),
    "conv2d": lambda net, x: F.conv2d(x, net.weight[2], bias=net.bias, dilation=2, padding="same"),
    "conv3d": lambda net, x: F.conv3d(x, net.weight[3], stride=2),
    "interpolate": lambda net, x: F.interpolate(x, (12, 18)),
    "linear": lambda net, x: F.linear(x, net.weight[0], net.bias),
    "cat": lambda net, x: torch.cat((x, F.relu(x)), 1),
    "concat": lambda net, x: torch.concat([x, F.relu(x)], dim=-3),
    "concatenate": lambda net, x: torch.concatenate([F.relu(x), x], 1),
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
NUMBER = {"add": 0.5, "add_": 1, "iadd": 2.0, "sub": 3, "sub_": -1, "mul": -0.5, "mul_": 2, "imul": 0.25, "div": 6}
NUMBER |= {"truediv": 4.0, "multiply": 3, "subtract": 0.25, "divide": -2, "rsub": 1.5}
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
        self.bias, self.scale = nn.Parameter(torch.randn(3)), nn.Parameter(torch.tensor([0.5, -1.0, 2.0, 3.0]))
        self.register_buffer("mean", torch.linspace(-1, 1, 144))

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


class OfTokens(nn.Module):
    """A layer over tokens, called in its own way."""

    def __init__(self, make, call) -> None:
        super().__init__()
        self.layer, self.call = make(), call

    def forward(self, x):
        return self.call(self.layer, x)


@pytest.mark.parametrize("cls", TOKENS, ids=lambda cls: cls.__name__)
def test_modules_over_tokens(cls):
    assert_same(1, OfTokens(*TOKENS[cls]))


@pytest.mark.parametrize("cls", [cls for cls in MODULES if cls not in TOKENS], ids=lambda cls: cls.__name__)
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
        lambda net, x: x * net.scale.view(1, -1, 1, 1) + torch.arange(4.0).view(4, 1, 1),
        lambda net, x: 1 - net.scale[None, :, None, None] / 2 - x / net.scale.reshape(4, 1, 1),
        lambda net, x: torch.sigmoid(x).mean((2, 3)) * net.scale,
        lambda net, x: F.batch_norm(x.flatten(1), net.mean, net.mean.abs() + 1),
        lambda net, x: 1 - x,
        lambda net, x: x - F.relu(x),
        lambda net, x: x - net.first(x),
        lambda net, x: torch.add(x, net.first(x), alpha=-2),
        lambda net, x: torch.rsub(x, net.first(x), alpha=0.5),
        lambda net, x: x.abs().square() + x**2,
        lambda net, x: -x,
        lambda net, x: torch.sub(x, 2, alpha=3),
        lambda net, x: torch.rsub(x, 2, alpha=3),
        lambda net, x: x.clamp(0, 6),
        lambda net, x: x.clip(min=0),
        lambda net, x: torch.clamp(x, -0.5, 2),
        lambda net, x: x.add_(1).mul_(2).relu_() + x,  # all of them are one tensor
        lambda net, x: F.relu(x.to(torch.float64).to(x.dtype)).type_as(x),
        lambda net, x: F.pad(x, (0, 0, 0, 0)).mul(torch.tensor(2.0)),
        lambda net, x: x[:, :].relu(),
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


@pytest.mark.parametrize(
    ("form", "blocks"),
    [
        (lambda net, x: x * torch.sigmoid(x), ["first"]),
        (lambda net, x: x * F.relu6(x + 3) / 6, ["first"]),
        (lambda net, x: x * torch.tanh(F.softplus(x)), ["first"]),
        (lambda net, x: F.softsign(F.relu(x)), ["first", "div"]),  # a clamp costs no table
        (lambda net, x: F.relu(2 * torch.sigmoid(x) - 1), ["first"]),
        (lambda net, x: torch.sigmoid(x) * torch.tanh(x) + x, ["first"]),
        (
            lambda net, x: net.first(torch.sigmoid(x)) + x * torch.sigmoid(x),
            ["first", "sigmoid", "first@2", "mul", "add"],
        ),
        (lambda net, x: net.first(y := torch.sigmoid(x)) + x * y, ["first", "sigmoid", "first@2", "mul", "add"]),
        (lambda net, x: net.first(y := torch.abs(x)) + x / (y + 1), ["first", "abs", "first@2", "div", "add_1"]),
    ],
)
def test_a_function_of_one_tensor_is_one_activation(form, blocks):
    assert_same(2, form)
    assert [block.name for block in searchable(Net(2, form), torch.randn(2, 4, 6, 6)).spec.blocks] == blocks
