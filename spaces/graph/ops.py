"""Which rule a module class, a function or a method follows."""

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from spaces.graph.op import Op
from spaces.graph.rules import (
    activation,
    adaptive,
    arithmetic,
    concat,
    conv_function,
    conv_module,
    dropout,
    identity,
    interface,
    linear_function,
    linear_module,
    mean,
    norm_module,
    pad,
    pool,
    reshape,
    select,
)
from spaces.graph.trace import Call, Value
from spaces.one_of import Select

MODULES: dict[type, Callable[[Call], Op | Value]] = {
    nn.Conv1d: conv_module,
    nn.Conv2d: conv_module,
    nn.Conv3d: conv_module,
    nn.Linear: linear_module,
    nn.BatchNorm1d: norm_module,
    nn.BatchNorm2d: norm_module,
    nn.BatchNorm3d: norm_module,
    nn.Identity: identity,
    nn.Dropout: identity,
    nn.Dropout1d: identity,
    nn.Dropout2d: identity,
    nn.Dropout3d: identity,
    nn.AlphaDropout: identity,
    nn.ReLU: activation("relu"),
    nn.ReLU6: activation("relu6"),
    nn.Hardtanh: activation("hardtanh", min_val=-1.0, max_val=1.0),
    nn.Hardswish: activation("hardswish"),
    nn.Hardsigmoid: activation("hardsigmoid"),
    nn.Sigmoid: activation("sigmoid"),
    nn.Tanh: activation("tanh"),
    nn.SiLU: activation("silu"),
    nn.GELU: activation("gelu", approximate="none"),
    nn.Mish: activation("mish"),
    nn.ELU: activation("elu", alpha=1.0),
    nn.SELU: activation("selu"),
    nn.CELU: activation("celu", alpha=1.0),
    nn.Softplus: activation("softplus", beta=1.0, threshold=20.0),
    nn.Softsign: activation("softsign"),
    nn.LeakyReLU: activation("leaky_relu", negative_slope=0.01),
    nn.MaxPool1d: pool("max_pool", 1),
    nn.MaxPool2d: pool("max_pool", 2),
    nn.MaxPool3d: pool("max_pool", 3),
    nn.AvgPool1d: pool("avg_pool", 1),
    nn.AvgPool2d: pool("avg_pool", 2),
    nn.AvgPool3d: pool("avg_pool", 3),
    nn.AdaptiveAvgPool1d: adaptive("avg_pool"),
    nn.AdaptiveAvgPool2d: adaptive("avg_pool"),
    nn.AdaptiveAvgPool3d: adaptive("avg_pool"),
    nn.AdaptiveMaxPool1d: adaptive("max_pool"),
    nn.AdaptiveMaxPool2d: adaptive("max_pool"),
    Select: select,
    nn.Flatten: reshape,
    nn.ZeroPad1d: pad,
    nn.ZeroPad2d: pad,
    nn.ZeroPad3d: pad,
    nn.ConstantPad1d: pad,
    nn.ConstantPad2d: pad,
    nn.ConstantPad3d: pad,
}

_BY_NAME: dict[str, Callable[[Call], Op | list[Op] | Value]] = {
    "relu": activation("relu"),
    "relu_": activation("relu"),
    "sigmoid": activation("sigmoid"),
    "tanh": activation("tanh"),
    "add": arithmetic("add"),
    "add_": arithmetic("add"),
    "sub": arithmetic("sub"),
    "mul": arithmetic("mul"),
    "mul_": arithmetic("mul"),
    "div": arithmetic("div"),
    "mean": mean,
    "flatten": reshape,
    "reshape": reshape,
    "squeeze": reshape,
    "view": reshape,
    "contiguous": interface,
    "clone": interface,
    "float": interface,
}

METHODS = _BY_NAME

FUNCTIONS: dict[Any, Callable[[Call], Op | list[Op] | Value]] = {
    **{getattr(torch, name): rule for name, rule in _BY_NAME.items() if callable(getattr(torch, name, None))},
    operator.add: arithmetic("add"),
    operator.iadd: arithmetic("add"),
    operator.sub: arithmetic("sub"),
    operator.mul: arithmetic("mul"),
    operator.imul: arithmetic("mul"),
    operator.truediv: arithmetic("div"),
    torch.cat: concat,
    torch.concat: concat,
    F.conv1d: conv_function,
    F.conv2d: conv_function,
    F.conv3d: conv_function,
    F.linear: linear_function,
    F.relu: activation("relu"),
    F.relu6: activation("relu6"),
    F.hardtanh: activation("hardtanh", min_val=-1.0, max_val=1.0),
    F.hardswish: activation("hardswish"),
    F.hardsigmoid: activation("hardsigmoid"),
    F.sigmoid: activation("sigmoid"),
    F.tanh: activation("tanh"),
    F.silu: activation("silu"),
    F.gelu: activation("gelu", approximate="none"),
    F.mish: activation("mish"),
    F.elu: activation("elu", alpha=1.0),
    F.softplus: activation("softplus", beta=1.0, threshold=20.0),
    F.leaky_relu: activation("leaky_relu", negative_slope=0.01),
    F.pad: pad,
    F.dropout: dropout,
    F.dropout1d: dropout,
    F.dropout2d: dropout,
    F.dropout3d: dropout,
    F.alpha_dropout: dropout,
    F.max_pool1d: pool("max_pool", 1),
    F.max_pool2d: pool("max_pool", 2),
    F.max_pool3d: pool("max_pool", 3),
    F.avg_pool1d: pool("avg_pool", 1),
    F.avg_pool2d: pool("avg_pool", 2),
    F.avg_pool3d: pool("avg_pool", 3),
    F.adaptive_avg_pool1d: adaptive("avg_pool"),
    F.adaptive_avg_pool2d: adaptive("avg_pool"),
    F.adaptive_avg_pool3d: adaptive("avg_pool"),
    F.adaptive_max_pool1d: adaptive("max_pool"),
    F.adaptive_max_pool2d: adaptive("max_pool"),
    F.adaptive_max_pool3d: adaptive("max_pool"),
}


def translate(call: Call) -> list[Op] | Value:
    """The operators that a call is, or the value that it passes on.

    Raises:
        UnsupportedNetwork: there is no rule for it.
    """
    if isinstance(call.target, nn.Module):
        rule, what = MODULES.get(type(call.target)), type(call.target).__name__
    elif isinstance(call.target, str):
        rule, what = METHODS.get(call.target), f"Tensor.{call.target}"
    else:
        rule, what = FUNCTIONS.get(call.target), getattr(call.target, "__name__", str(call.target))
    if rule is None:
        raise call.refuse(
            f"uses '{what}', for which there is no integer operator.",
            "Replace it by a supported one (README, 'What converts'), or add a rule in spaces/graph/rules.py.",
        )
    made = rule(call)
    return [made] if isinstance(made, Op) else made
