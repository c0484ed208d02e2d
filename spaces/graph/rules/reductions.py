"""Sums, means, maxima and variances over any dimensions."""

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

import torch

from spaces.graph.compose import in_turn
from spaces.graph.op import ACTIVATION, Op
from spaces.graph.rules.common import Made, Rules, added, axis_of, pointwise, reshaped, without
from spaces.graph.rules.elementwise import combined
from spaces.graph.rules.joining import stack
from spaces.graph.rules.weighted import LARGEST_RANK
from spaces.graph.trace import Call
from spaces.graph.value import Value
from spaces.graph.view import View

MINUS = ("scale", {"factor": -1.0, "offset": 0.0})


def mean(call: Call) -> Value:
    return _mean(call, call.input, _axes(call), bool(call.given.get("keepdim")), call.name)


def total(call: Call) -> Op:
    """A mean, times the number of elements."""
    axes = _axes(call)
    found = _mean(call, call.input, axes, bool(call.given.get("keepdim")), f"{call.name}.mean")
    count = prod(call.input.own[axis] for axis in axes)
    return pointwise(call, ACTIVATION, found, activation=("scale", {"factor": float(count), "offset": 0.0}))


def largest(call: Call) -> Value:
    """max over dimensions, or of two tensors."""
    if "other" in call.given:
        a, b = call.given["self"], call.given["other"]
        if not isinstance(a, Value) or not isinstance(b, Value) or a.shape != b.shape or a.batch or b.batch:
            raise call.refuse(
                "compares tensors of different shapes, or a constant.", "Use clamp(min=...) for a number."
            )
        result = torch.zeros(a.shape[0], 2, *a.own)
        whole = stack(replace(call, given={"tensors": [a, b], "dim": 1}, name=f"{call.name}.both", result=result))
        both = Value(whole.name, (a.shape[0], 2, *a.shape[1:]), whole.view)
        call.forms.add(whole)
        return _largest(call, both, (0,), False)
    return _largest(call, call.input, _axes(call), bool(call.given.get("keepdim")))


def smallest(call: Call) -> Made:
    """- max(-x)"""
    if "other" in call.given:
        a, b = call.given["self"], call.given["other"]
        if not isinstance(a, Value) or not isinstance(b, Value):
            raise call.refuse("compares a tensor with a constant.", "Use clamp(max=...) for a number.")
        turned = {"self": _negated(call, a, f"{call.name}.0"), "other": _negated(call, b, f"{call.name}.1")}
        found = largest(replace(call, name=f"{call.name}.max", given=turned))
    else:
        x = _negated(call, call.input, f"{call.name}.negated")
        found = _largest(call, x, _axes(call), bool(call.given.get("keepdim")), f"{call.name}.max")
    return pointwise(call, ACTIVATION, found, activation=MINUS)


def _negated(call: Call, x: Value, name: str) -> Value:
    return added(call, pointwise(call, ACTIVATION, x, name, activation=MINUS), x.shape)


def variance(call: Call) -> Made:
    """The mean of squares of what is left without the mean; with correction times n / (n - 1)."""
    return _variance(call, call.name)


def spread_and_middle(call: Call) -> tuple[Value, Value]:
    """Variance and mean."""
    found = _variance(call, call.name)
    return found, _mean(call, call.input, _axes(call), bool(call.given.get("keepdim")), f"{call.name}.middle")


def deviation(call: Call) -> Op:
    found = _variance(call, f"{call.name}.variance")
    return pointwise(call, ACTIVATION, found, activation=("sqrt", {}))


def length(call: Call) -> Op:
    """The root of the sum of squares."""
    if call.given.get("ord", call.given.get("p", 2)) not in (None, 2):
        raise call.refuse("takes another norm than the square root of squares.", "Write it by sums and powers.")
    x, axes = call.input, _axes(call)
    squares = added(call, pointwise(call, ACTIVATION, x, f"{call.name}.square", activation=("square", {})), x.shape)
    found = _mean(call, squares, axes, bool(call.given.get("keepdim")), f"{call.name}.mean")
    times = ("scale", {"factor": float(prod(x.own[axis] for axis in axes)), "offset": 0.0})
    return pointwise(call, ACTIVATION, found, activation=in_turn(times, ("sqrt", {})))


def _variance(call: Call, name: str) -> Value:
    x, axes = call.input, _axes(call)
    correction = call.given.get("correction", 1 if call.given.get("unbiased", True) else 0)
    count = prod(x.own[axis] for axis in axes)
    middle = _mean(call, x, axes, True, f"{name}.mean")
    centred = combined(call, f"{name}.centred", "sub", x, middle)
    squares = added(call, pointwise(call, ACTIVATION, centred, f"{name}.square", activation=("square", {})), x.shape)
    keep = bool(call.given.get("keepdim"))
    if correction in (0, None):
        return _mean(call, squares, axes, keep, name)
    found = _mean(call, squares, axes, keep, f"{name}.biased")
    factor = count / max(1, count - int(correction))
    scaled = pointwise(call, ACTIVATION, found, name, activation=("scale", {"factor": factor, "offset": 0.0}))
    return added(call, scaled, found.shape)


def _axes(call: Call) -> tuple[int, ...]:
    """The axes that are reduced, without the batch."""
    dim, x = call.given.get("dim"), call.input
    dims = [dim] if isinstance(dim, int) else list(dim or [])
    if not dims:
        raise call.refuse("reduces all dimensions, and the batch with them.", "Name the dimensions: dim=(1, 2).")
    return tuple(sorted(axis_of(call, d, x) for d in dims))


def _mean(call: Call, x: Value, axes: tuple[int, ...], keep: bool, name: str) -> Value:
    """The mean over axes. Over those of maps it is a pool; over channels it is a convolution with weights 1 / C."""
    order, own = x.seen.order, name if keep else f"{name}.pool"
    spatial = tuple(axis for axis in axes if axis != order[0])
    parts = spatial, tuple(axis for axis in axes if axis == order[0])
    for index, part in enumerate(each for each in parts if each):
        last = index == sum(map(bool, parts)) - 1
        x = (_pooled if part == spatial else _over_channels)(call, x, order, part, own if last else f"{own}.maps")
    return x if keep else without(call, x, axes, name)


def _pooled(call: Call, x: Value, order: Sequence[int], axes: tuple[int, ...], name: str) -> Value:
    return _reduced(call, x, order, axes, name, "avg_pool")


def _reduced(call: Call, x: Value, order: Sequence[int], axes: tuple[int, ...], name: str, kind: str) -> Value:
    """A pool over some of the axes behind the channels, 3 at most; where there are more, neighbours are joined."""
    x = call.forms.stored(x, order)
    shape = [1 if axis in axes else x.own[axis] for axis in order]
    groups: list[list[int]] = []
    for place, axis in enumerate(order[1:], 1):
        if groups and (order[groups[-1][0]] in axes) == (axis in axes):
            groups[-1].append(place)
        else:
            groups.append([place])
    stored = x.seen.stored
    sizes = [prod(stored[place] for place in group) for group in groups]
    pooled = [order[group[0]] in axes for group in groups]
    merged = len(order) > 4
    before = (stored[0], *sizes) if merged else stored
    kernel = (
        [n if p else 1 for n, p in zip(sizes, pooled, strict=True)]
        if merged
        else [n if axis in axes else 1 for n, axis in zip(stored[1:], order[1:], strict=True)]
    )
    if len(before) > 4:
        raise call.refuse(f"reduces every other one of {len(order)} dimensions.", "Bring them side by side first.")
    source = x.name
    if merged:
        source = added(
            call, Op("reshape", f"{name}.merged", call.where, [source], before, {"shape": list(before)}), ()
        ).name
    attributes: dict[str, Any] = {"kernel": kernel, "stride": kernel, "padding": [[0, 0]] * len(kernel)}
    if kind == "max_pool":
        attributes["dilation"] = [1] * len(kernel)
    after = (before[0], *(n // k for n, k in zip(before[1:], kernel, strict=True)))
    own = f"{name}.pool" if merged else name
    result = added(call, Op(kind, own, call.where, [source], after, attributes), ())
    user = tuple(1 if axis in axes else x.own[axis] for axis in range(x.rank))
    if merged:
        op = Op("reshape", name, call.where, [result.name], tuple(shape), {"shape": shape})
        result = added(call, op, ())
    return Value(
        result.name,
        (*user[: x.batch], x.shape[x.batch], *user[x.batch :]),
        View.ordered(tuple(shape), order, x.batch),
        call.name,
    )


def _over_channels(call: Call, x: Value, order: Sequence[int], axes: tuple[int, ...], name: str) -> Value:
    """The mean over channels. A channel that is pruned is 0 in it, with its share: the weights are constants."""
    x = call.forms.stored(x, order)
    stored = x.seen.stored
    folds = not 2 <= len(stored) <= LARGEST_RANK  # features are one place, and many axes are one
    source, shape = x.name, (stored[0], prod(stored[1:])) if folds else stored
    dims = len(shape) - 1
    if folds:
        source = added(
            call, Op("reshape", f"{name}.place", call.where, [source], shape, {"shape": list(shape)}), ()
        ).name
    one = [1] * dims
    attributes = {"kernel": one, "stride": one, "padding": [[0, 0]] * dims, "dilation": one, "groups": 1}
    weight = torch.full((1, stored[0], *one), 1 / stored[0])
    own = f"{name}.sum" if folds else name
    op = Op("conv", own, call.where, [source], (1, *shape[1:]), attributes, weights=own, weight=weight, fixed=True)
    result = added(call, op, ())
    after = (1, *stored[1:])
    if folds:
        result = added(call, Op("reshape", name, call.where, [result.name], after, {"shape": list(after)}), ())
    user = tuple(1 if axis in axes else x.own[axis] for axis in range(x.rank))
    return Value(
        result.name,
        (*user[: x.batch], x.shape[x.batch], *user[x.batch :]),
        View.ordered(after, order, x.batch),
        call.name,
    )


def _largest(call: Call, x: Value, axes: tuple[int, ...], keep: bool, name: str = "") -> Value:
    """The maximum over axes: a pool. Channels become an axis of maps for it."""
    name, order, reduced = name or call.name, x.seen.order, axes
    shape = tuple(1 if axis in axes else n for axis, n in enumerate(x.own))
    if order[0] in axes:
        others = [axis for axis in order[1:] if axis not in axes]
        if others:
            order = (others[0], *(axis for axis in range(x.rank) if axis != others[0]))
        else:  # nothing stays: one channel
            x = reshaped(call, x, (1, *x.own), f"{name}.maps")
            order, axes = tuple(range(x.rank)), tuple(range(1, x.rank))
    found = _reduced(call, x, order, axes, f"{name}.pool", "max_pool")
    found = reshaped(call, found, shape, name)
    return found if keep else without(call, found, reduced, name)


RULES: Rules = {
    "mean": mean,
    "sum": total,
    **dict.fromkeys(("max", "amax", "maximum"), largest),
    **dict.fromkeys(("min", "amin", "minimum"), smallest),
    "var": variance,
    "var_mean": spread_and_middle,
    "std": deviation,
    **dict.fromkeys(("linalg_vector_norm", "norm"), length),
}
