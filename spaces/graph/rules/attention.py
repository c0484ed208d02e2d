"""Products of two tensors, softmax, and norms that measure each sample."""

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

import torch
from torch import Tensor

from spaces.graph.op import ACTIVATION, NORM, NormNumbers, Op
from spaces.graph.rules.common import (
    Made,
    Rules,
    added,
    axis_of,
    channels_first,
    for_each_sample,
    pointwise,
    reshaped,
    stored_constant,
)
from spaces.graph.rules.elementwise import arithmetic, combined, two_tensors
from spaces.graph.rules.weighted import over_last
from spaces.graph.trace import Call
from spaces.graph.value import Value

# Products


def matmul(call: Call) -> Made:
    names = list(call.given)[:2]
    a, b = (call.given[name] for name in names)
    if isinstance(b, Tensor) and isinstance(a, Value) and b.dim() != 2:
        each = for_each_sample(call, b, a.rank, a.batch)
        b = stored_constant(call, each, range(each.dim()), f"{call.name}.constant", a.batch)
    if isinstance(b, Tensor) and isinstance(a, Value):
        owned = replace(call, given={"weight": b, "input": a})
        return over_last(owned, a, b.T)
    if not isinstance(a, Value):
        raise call.refuse("multiplies a constant by a tensor.", "Transpose both: x @ weight.")
    return product(call, a, b, call.name)


def product(call: Call, a: Value, b: Value, name: str) -> Value:
    """(N, *heads, M, K) times (N, *heads, K, P)."""
    if a.rank == b.rank:
        a, b = _spread_heads(call, a, b), _spread_heads(call, b, a)
    alike = a.rank == b.rank and a.batch == b.batch and a.own[:-2] == b.own[:-2]
    if not alike or a.rank < 2 or a.batch > a.rank - 2:
        raise call.refuse(f"multiplies {a.shape} by {b.shape}.", "Give both the same dimensions before the last two.")
    batch, heads = a.batch, a.own[:-2]
    own = (*heads, a.shape[-2], b.shape[-1])
    a, b = (reshaped(call, _batch_first(x), (prod(heads), *x.shape[-2:]), f"{name}.in") for x in (a, b))
    stored, axes = [], []
    for value, contracted in ((a, 2), (b, 1)):
        order = value.seen.order
        if order[0] != 0:
            order = (0, *(axis for axis in order if axis != 0))
        stored.append(call.forms.stored(value, order))
        axes.append(order.index(contracted))
    shape = (prod(heads), a.shape[2], b.shape[3])
    op = Op("matmul", name, call.where, [v.name for v in stored], shape, {"axes": axes})
    result = reshaped(call, added(call, op, (a.shape[0], *shape)), own, f"{name}.out")
    dims = [*range(1, 1 + batch), 0, *range(1 + batch, len(result.shape))]
    return replace(result, shape=tuple(result.shape[d] for d in dims), view=result.seen.permuted(dims))


def _spread_heads(call: Call, x: Value, other: Value) -> Value:
    """One head for all heads of another tensor."""
    pairs = enumerate(zip(x.own[:-2], other.own[:-2], strict=True))
    copies = {axis: [0] * count for axis, (own, count) in pairs if own == 1 and count > 1}
    return call.forms.taken(x, copies, f"{call.name}.spread") if copies else x


def _batch_first(x: Value) -> Value:
    dims = [x.batch, *(d for d in range(len(x.shape)) if d != x.batch)]
    return replace(x, shape=tuple(x.shape[d] for d in dims), view=x.seen.permuted(dims))


def sum_and_product(call: Call) -> Made:
    """beta * tensor + alpha * product"""
    given = call.given
    if given["beta"] != 1 or given["alpha"] != 1 or not isinstance(given["batch1"], Value):
        raise call.refuse("adds products with factors, or of constants.", "Write it by matmul and sums.")
    named = replace(call, name=f"{call.name}.product", given={"self": given["batch1"], "mat2": given["batch2"]})
    found = matmul(named)
    if isinstance(found, Op):
        found = added(call, found, call.shape)
    assert isinstance(found, Value)  # as of every product
    return arithmetic("add")(replace(call, given={"self": found, "other": given["self"], "alpha": 1}))


def gated(call: Call) -> Made:
    """One half of a tensor times the sigmoid of the other."""
    x = call.input
    axis = axis_of(call, call.given["dim"], x)
    half = x.own[axis] // 2
    first = call.forms.taken(x, {axis: range(half)}, f"{call.name}.first")
    second = call.forms.taken(x, {axis: range(half, 2 * half)}, f"{call.name}.second")
    sigmoid = added(
        call, pointwise(call, ACTIVATION, second, f"{call.name}.gate", activation=("sigmoid", {})), second.shape
    )
    return two_tensors(call, "mul", first, sigmoid, 1)


def attention(call: Call) -> Value:
    """softmax(q k^T * scale + mask) v"""
    given = call.given
    q, k, v, mask = (given[name] for name in ("query", "key", "value", "attn_mask"))
    if given.get("enable_gqa") or not all(isinstance(x, Value) for x in (q, k, v)):
        raise call.refuse("attends in groups of queries, or to constants.", "Repeat the keys.")
    if given.get("is_causal"):
        mask = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool).tril()
    scale = given.get("scale") or q.shape[-1] ** -0.5
    dims = [*range(k.rank - 1), k.rank, k.rank - 1]
    shape = tuple(k.shape[d] for d in dims)
    turned = replace(k, view=k.seen.permuted(dims), shape=shape, label=f"{call.name}.keys")
    scores = product(call, q, turned, f"{call.name}.scores")
    arguments = {"factor": float(scale), "offset": 0.0}
    scores = added(
        call, pointwise(call, ACTIVATION, scores, f"{call.name}.scaled", activation=("scale", arguments)), scores.shape
    )
    if mask is not None:
        scores = _masked(call, scores, mask)
    shares = added(call, _softmax(call, scores, scores.rank - 1, f"{call.name}.shares"), scores.shape)
    return product(call, shares, v, call.name)


def _masked(call: Call, scores: Value, mask: Any) -> Value:
    if isinstance(mask, Tensor):
        if mask.dtype == torch.bool:  # where it is true, the query sees the key
            mask = torch.zeros(mask.shape).masked_fill(~mask, -torch.inf)
        value = for_each_sample(call, mask, scores.rank, scores.batch)
        mask = stored_constant(call, value, scores.seen.order, f"{call.name}.mask", scores.batch)
    return combined(call, f"{call.name}.masked", "add", scores, mask)


def softmax(call: Call) -> Made:
    x = call.input
    return _softmax(call, x, axis_of(call, call.given["dim"], x), call.name)


def log_softmax(call: Call) -> Op:
    x = call.input
    inner = _softmax(call, x, axis_of(call, call.given["dim"], x), f"{call.name}.softmax")
    found = added(call, inner, x.shape)
    return pointwise(call, ACTIVATION, found, activation=("log", {}))


def _softmax(call: Call, x: Value, axis: int, name: str) -> Op:
    x = call.forms.stored(x)
    place = x.seen.whole.index(axis)
    return pointwise(call, "softmax", x, name, attributes={"axis": place})


# Norms that measure each sample


def layer_norm(call: Call) -> Made:
    axes = _last(call)
    return _normalized(call, call.input, axes, axes, bias=call.given["bias"])


def rms_norm(call: Call) -> Made:
    axes = _last(call)
    return _normalized(call, call.input, axes, axes, centred=False)


def _last(call: Call) -> tuple[int, ...]:
    x, count = call.input, len(call.given["normalized_shape"])
    return tuple(axis_of(call, dim, x) for dim in range(-count, 0))


def group_norm(call: Call) -> Made:
    x, groups = channels_first(call, call.input), int(call.given.get("num_groups") or call.given["group"])
    channels, *maps = range(call.joined, x.rank)
    bias = call.given["bias"]
    if groups == x.own[channels]:  # each channel by itself
        return _normalized(call, x, maps, (channels,), bias=bias)
    return _normalized(call, x, (channels, *maps), (channels,), bias=bias, groups=groups)


def instance_norm(call: Call) -> Made:
    if not call.given["use_input_stats"]:
        raise call.refuse("normalises by running statistics.", "That is a batch norm: use one.")
    x = channels_first(call, call.input)
    channels, *maps = range(call.joined, x.rank)
    return _normalized(call, x, maps, (channels,), bias=call.given["bias"])


def _normalized(
    call: Call,
    x: Value,
    axes: Sequence[int],
    along: Sequence[int],
    bias: Tensor | None = None,
    groups: int = 1,
    centred: bool = True,
) -> Made:
    """(x - mean) / sqrt(variance + eps), measured over axes of each sample, times weight, plus bias.

    Args:
        axes: the user's.
        along: the axes of the user's that weight and bias have.
        groups: into which the channels are cut, where they are among the axes.
    """
    x = call.forms.stored(x)
    order, weight, eps = x.seen.whole, call.given["weight"], call.given["eps"]
    attributes = {
        "axes": sorted(order.index(axis) for axis in axes),
        "groups": groups,
        "eps": float(torch.finfo(torch.float32).eps if eps is None else eps),
        "centred": centred,
    }
    measured = pointwise(call, "normalize", x, attributes=attributes)
    if weight is None and bias is None:
        return measured
    if tuple(along) == order[:1]:
        return [measured, _affine(call, measured, weight, bias)]
    measured.name = f"{call.name}.measured"
    value = added(call, measured, x.shape)
    for kind, constant in (("mul", weight), ("add", bias)):
        if constant is not None:
            shape = [n if axis in along else 1 for axis, n in enumerate(x.own)]
            stored = stored_constant(
                call, constant.detach().reshape(shape), order, f"{call.name}.{kind}.constant", x.batch
            )
            name = call.name if kind == "add" or bias is None else f"{call.name}.scaled"
            value = combined(call, name, kind, value, stored)
    return value


def _affine(call: Call, measured: Op, weight: Tensor | None, bias: Tensor | None) -> Op:
    """A scale and an offset for each channel, which join what was measured."""
    channels = measured.shape[0]
    missing = tuple(n for n, given in (("weight", weight), ("bias", bias)) if given is None)
    gain = torch.ones(channels) if weight is None else weight
    offset = torch.zeros(channels) if bias is None else bias
    owner = call.owned.get(id(bias if weight is None else weight), call.name)
    norm = owner.removesuffix(".weight").removesuffix(".bias")
    numbers = NormNumbers.affine(gain, offset, missing)
    name = f"{call.name}.affine"
    return Op(
        NORM, name, call.where, [measured.name], measured.shape, view=measured.view, norm=norm, norm_numbers=numbers
    )


RULES: Rules = {
    **dict.fromkeys(("matmul", "bmm", "mm"), matmul),
    "baddbmm": sum_and_product,
    "glu": gated,
    "scaled_dot_product_attention": attention,
    "softmax": softmax,
    "_softmax": softmax,
    "log_softmax": log_softmax,
    "_log_softmax": log_softmax,
    **dict.fromkeys(("layer_norm", "native_layer_norm"), layer_norm),
    **dict.fromkeys(("rms_norm", "_fused_rms_norm"), rms_norm),
    **dict.fromkeys(("group_norm", "native_group_norm"), group_norm),
    "instance_norm": instance_norm,
}
