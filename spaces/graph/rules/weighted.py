"""Convolutions, linear layers and batch norms."""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from spaces.graph.op import Op
from spaces.graph.rules.common import Rules, each_dimension, made
from spaces.graph.trace import Call, Value


def _conv_padding(call: Call, padding: Any, kernel: list[int], dilation: list[int]) -> list[list[int]]:
    if padding == "valid":
        padding = 0
    if padding == "same":
        totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        return [[t // 2, t - t // 2] for t in totals]
    return [[p, p] for p in each_dimension(padding, len(kernel))]


def _convolution(call: Call, x: Value, weight: Tensor, bias: Tensor | None, name: str, settings: dict[str, Any]) -> Op:
    kernel = list(weight.shape[2:])
    dims = len(kernel)
    dilation = each_dimension(settings["dilation"], dims)
    attributes = {
        "kernel": kernel,
        "stride": each_dimension(settings["stride"], dims),
        "padding": _conv_padding(call, settings["padding"], kernel, dilation),
        "dilation": dilation,
        "groups": int(settings["groups"]),
    }
    if len(x.shape) != dims + 2:
        raise call.refuse(f"reads a tensor of shape {x.shape} without a batch.", "Feed batches.")
    return made(call, "conv", [x], attributes=attributes, weights=name, weight=weight, bias=bias)


def conv_module(call: Call) -> Op:
    m = call.target
    if m.padding_mode != "zeros":
        raise call.refuse(
            f"has padding_mode '{m.padding_mode}'.", "Only 'zeros' runs on integers: change it and retrain."
        )
    settings = {k: getattr(m, k) for k in ("stride", "padding", "dilation", "groups")}
    return _convolution(call, call.args[0], m.weight, m.bias, call.path, settings)


def conv_function(call: Call) -> Op:
    a = call.bind(
        *("input", "weight", "bias", "stride", "padding", "dilation", "groups"),
        **{"bias": None, "stride": 1, "padding": 0, "dilation": 1, "groups": 1},
    )
    return _convolution(call, a["input"], a["weight"], a["bias"], _owner(call, a["weight"]), a)


def _owner(call: Call, weight: Any) -> str:
    if not isinstance(weight, Tensor) or id(weight) not in call.owned:
        raise call.refuse("has weights that are computed in forward.", "Make them a parameter of the module.")
    return call.owned[id(weight)].removesuffix(".weight")


def _linear(call: Call, x: Value, weight: Tensor, bias: Tensor | None, name: str) -> Op:
    if len(x.shape) != 2:
        raise call.refuse(f"is linear over an input of shape {x.shape}.", "Flatten to (N, features) before it.")
    return made(call, "linear", [x], attributes={}, weights=name, weight=weight, bias=bias)


def linear_module(call: Call) -> Op:
    return _linear(call, call.args[0], call.target.weight, call.target.bias, call.path)


def linear_function(call: Call) -> Op:
    a = call.bind("input", "weight", "bias", bias=None)
    return _linear(call, a["input"], a["weight"], a["bias"], _owner(call, a["weight"]))


def norm_module(call: Call) -> Op:
    m = call.target
    if m.running_mean is None:
        raise call.refuse("keeps no running statistics.", "Build it with track_running_stats=True.")
    if m.momentum is None:
        raise call.refuse("has momentum None (a cumulative average).", "Give it a number, 0.1 say.")
    return made(call, "norm", [call.args[0]], norm=call.path, norm_module=m)


RULES: Rules = {
    **dict.fromkeys((nn.Conv1d, nn.Conv2d, nn.Conv3d), conv_module),
    **dict.fromkeys((F.conv1d, F.conv2d, F.conv3d), conv_function),
    nn.Linear: linear_module,
    F.linear: linear_function,
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), norm_module),
}
