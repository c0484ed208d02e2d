"""Convolutions, linear layers and batch norms."""

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from spaces.blocks.conv import CONVOLUTIONS
from spaces.blocks.sampling import mirrored_kernels
from spaces.graph.op import NORM, NormNumbers, Op
from spaces.graph.rules.common import (
    Rules,
    added,
    channels_first,
    each_dimension,
    made,
    plain,
    pointwise,
    refuse_joined,
    reshaped,
)
from spaces.graph.trace import Call
from spaces.graph.value import Value

LARGEST_RANK = 4  # axes without the batch: channels and three more

COMPUTED = "the model computes its weights from parameters; the values are taken, and trained as they are"


def convolution(call: Call) -> Op:
    given = call.given
    x, kernel = given["input"], list(_weight(call).shape[2:])
    dims, more = len(kernel), call.joined  # windows of an image that were joined with the batch are one dimension more
    if x.rank != dims + 1 + more or dims + more > len(CONVOLUTIONS):
        raise call.refuse(f"reads a tensor of shape {x.shape} without a batch.", "Feed batches.")
    dilation = each_dimension(given["dilation"], dims)
    attributes = {
        "kernel": [1] * more + kernel,
        "stride": [1] * more + each_dimension(given["stride"], dims),
        "padding": [[0, 0]] * more + _padding(given["padding"], kernel, dilation),
        "dilation": [1] * more + dilation,
        "groups": int(given["groups"]),
    }
    weight = _weight(call)
    if not more:
        return _layer(call, "conv", plain(call, x), attributes, weight)
    order = (more, *range(more), *range(more + 1, x.rank))
    weight = weight.reshape(*weight.shape[:2], *[1] * more, *kernel)
    return _layer(call, "conv", call.forms.stored(x, order), attributes, weight, order, x.batch)


def transposed(call: Call) -> Op:
    """A transposed convolution: a convolution, its kernel mirrored, over the input with zeros between its elements."""
    refuse_joined(call)
    given = call.given
    x, weight = given["input"], _weight(call)
    kernel, groups = list(weight.shape[2:]), int(given["groups"])
    dims = len(kernel)
    if x.rank != dims + 1:
        raise call.refuse(f"reads a tensor of shape {x.shape} without a batch.", "Feed batches.")
    stride, padding, more, dilation = (
        each_dimension(given[name], dims) for name in ("stride", "padding", "output_padding", "dilation")
    )
    ends = [d * (k - 1) - p for d, k, p in zip(dilation, kernel, padding, strict=True)]
    pairs = [[end, end + extra] for end, extra in zip(ends, more, strict=True)]
    if min(map(min, pairs)) < 0:
        raise call.refuse("cuts its border off.", "Give it less padding than its kernel reaches, and cut behind it.")
    attributes = {"kernel": kernel, "stride": stride, "padding": pairs, "dilation": dilation, "groups": groups}
    return _layer(call, "conv_transpose", plain(call, x), attributes, mirrored_kernels(weight, groups))


def any_convolution(call: Call) -> Op:
    """A convolution as decomposed graphs have it."""
    return transposed(call) if call.given["transposed"] else convolution(call)


def sum_and_product(call: Call) -> Op | Value:
    """bias + input @ weight, as decomposed graphs have a linear layer."""
    given = call.given
    bias, x, weight = given["self"], given["mat1"], given["mat2"]
    if given["beta"] != 1 or given["alpha"] != 1 or not isinstance(weight, Tensor) or not isinstance(x, Value):
        raise call.refuse("adds products with factors, or multiplies two tensors.", "Write it by matmul and sums.")
    return over_last(replace(call, given={"weight": weight, "input": x, "bias": bias}), x, weight.T)


def _padding(padding: Any, kernel: list[int], dilation: list[int]) -> list[list[int]]:
    if padding == "valid":
        padding = 0
    if padding == "same":
        totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        return [[t // 2, t - t // 2] for t in totals]
    return [[p, p] for p in each_dimension(padding, len(kernel))]


def linear(call: Call) -> Op | Value:
    """Over the last dimension. Behind maps or tokens it is a convolution of one tap."""
    return over_last(call, call.given["input"], _weight(call))


def over_last(call: Call, x: Value, weight: Tensor) -> Op | Value:
    """weight: (C_out, C_in)."""
    if weight.dim() != 2:
        raise call.refuse(f"multiplies by weights of shape {tuple(weight.shape)}.", "Weights have two dimensions.")
    if x.batch == x.rank:
        raise call.refuse("is linear over the batch.", "Each sample is run by itself on the chip.")
    if x.rank == 1:
        return _layer(call, "linear", plain(call, x), {}, weight)
    if x.rank > LARGEST_RANK and x.batch == 0:
        rows = reshaped(call, x, (prod(x.own[:-1]), x.own[-1]), f"{call.name}.rows")
        result = torch.zeros(x.shape[0], rows.own[0], len(weight))
        op = over_last(replace(call, result=result), rows, weight)
        found = added(call, op, result.shape) if isinstance(op, Op) else op
        return reshaped(call, found, (*x.own[:-1], len(weight)), f"{call.name}.out")
    first = x.rank - 1
    others = [axis for axis in x.seen.order if axis != first]
    order = (first, *others)
    one, none = [1] * len(others), [[0, 0]] * len(others)
    attributes = {"kernel": one, "stride": one, "padding": none, "dilation": one, "groups": 1}
    return _layer(
        call, "conv", call.forms.stored(x, order), attributes, weight.reshape(*weight.shape, *one), order, x.batch
    )


def _weight(call: Call) -> Tensor:
    weight = call.given["weight"]
    if not isinstance(weight, Tensor) or not isinstance(call.given["input"], Value):
        raise call.refuse(
            f"'{call.operator}' has weights that are computed from the data.", "Make them a parameter of the module."
        )
    return weight


def _layer(
    call: Call,
    kind: str,
    x: Value,
    attributes: dict[str, Any],
    weight: Tensor,
    order: Sequence[int] | None = None,
    batch: int = 0,
) -> Op:
    """weight: (C_out, C_in / groups, *kernel), the user's or made of it."""
    given, bias = call.given.get("weight"), call.given.get("bias")
    if isinstance(bias, Value):
        raise call.refuse(
            f"'{call.operator}' has a bias that is computed from the data.", "Add it behind the layer instead."
        )
    stored = call.owned.get(id(given))
    if stored is not None and isinstance(given, nn.Parameter) and not isinstance(weight, nn.Parameter):
        weight = nn.Parameter(weight.detach(), requires_grad=given.requires_grad)
    return made(
        call,
        kind,
        [x],
        order,
        batch,
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
    return pointwise(call, NORM, channels_first(call, given["input"]), norm=name, norm_numbers=numbers)


RULES: Rules = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), convolution),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), transposed),
    "convolution": any_convolution,
    "linear": linear,
    "addmm": sum_and_product,
    **dict.fromkeys(("batch_norm", "_native_batch_norm_legit_no_training"), batch_norm),
}
