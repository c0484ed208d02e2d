"""Convolutions, linear layers and batch norms."""

from typing import Any

from torch import Tensor

from spaces.graph.op import NormNumbers, Op
from spaces.graph.rules.common import Rules, each_dimension, made
from spaces.graph.trace import Call, Value

COMPUTED = "the model computes its weights from parameters; the values are taken, and trained as they are"


def convolution(call: Call) -> Op:
    given = call.given
    x, kernel = given["input"], list(_weight(call).shape[2:])
    dims = len(kernel)
    if len(x.shape) != dims + 2:
        raise call.refuse(f"reads a tensor of shape {x.shape} without a batch.", "Feed batches.")
    dilation = each_dimension(given["dilation"], dims)
    attributes = {
        "kernel": kernel,
        "stride": each_dimension(given["stride"], dims),
        "padding": _padding(given["padding"], kernel, dilation),
        "dilation": dilation,
        "groups": int(given["groups"]),
    }
    return _layer(call, "conv", x, attributes)


def _padding(padding: Any, kernel: list[int], dilation: list[int]) -> list[list[int]]:
    if padding == "valid":
        padding = 0
    if padding == "same":
        totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        return [[t // 2, t - t // 2] for t in totals]
    return [[p, p] for p in each_dimension(padding, len(kernel))]


def linear(call: Call) -> Op:
    x, weight = call.given["input"], _weight(call)
    if len(x.shape) != 2 or weight.dim() != 2:
        raise call.refuse(f"is linear over an input of shape {x.shape}.", "Flatten to (N, features) before it.")
    return _layer(call, "linear", x, {})


def _weight(call: Call) -> Tensor:
    weight = call.given["weight"]
    if not isinstance(weight, Tensor) or not isinstance(call.given["input"], Value):
        raise call.refuse(
            f"'{call.operator}' has weights that are computed from the data.", "Make them a parameter of the module."
        )
    return weight


def _layer(call: Call, kind: str, x: Value, attributes: dict[str, Any]) -> Op:
    weight, bias = _weight(call), call.given["bias"]
    if isinstance(bias, Value):
        raise call.refuse(
            f"'{call.operator}' has a bias that is computed from the data.", "Add it behind the layer instead."
        )
    stored = call.owned.get(id(weight))
    return made(
        call,
        kind,
        [x],
        attributes=attributes,
        weights=call.name.partition("@")[0] if stored is None else stored.removesuffix(".weight"),
        weight=weight,
        bias=bias,
        note="" if stored is not None else COMPUTED,
    )


def batch_norm(call: Call) -> Op:
    given = call.given
    mean, variance = given["running_mean"], given["running_var"]
    if not isinstance(mean, Tensor) or not isinstance(variance, Tensor) or given.get("training"):
        raise call.refuse("keeps no running statistics.", "Build it with track_running_stats=True.")
    if getattr(call.module, "momentum", given["momentum"]) is None:
        raise call.refuse("has momentum None (a cumulative average).", "Give it a number, 0.1 say.")
    numbers = NormNumbers(mean, variance, given["weight"], given["bias"], given["eps"], given["momentum"])
    name = call.owned.get(id(mean), call.name).removesuffix(".running_mean")
    return made(call, "norm", [given["input"]], norm=name, norm_numbers=numbers)


RULES: Rules = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), convolution),
    "linear": linear,
    "batch_norm": batch_norm,
}
