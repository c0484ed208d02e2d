"""Calls that take elements from places that are known: parts, other orders, copies."""

from collections.abc import Callable

import torch
from torch import Tensor

from spaces.graph.rules.common import Rules, axis_of, labelled, without
from spaces.graph.trace import Call
from spaces.graph.value import Value


def part(call: Call) -> Value:
    """x[..., start:end:step, ...]"""
    x, given = call.input, call.given
    if call.shape == x.shape and given["step"] == 1:
        return x
    dim, step = given["dim"] % len(x.shape), given["step"]
    size = x.shape[dim]
    start, end, step = slice(given["start"], given["end"], step).indices(size)
    return call.forms.taken(x, {axis_of(call, dim, x): range(start, end, step)}, call.name)


def narrow(call: Call) -> Value:
    """x from start, so many elements long."""
    start, length = call.given["start"], call.given["length"]
    axis = axis_of(call, call.given["dim"], call.input)
    return call.forms.taken(call.input, {axis: range(start, start + length)}, call.name)


def one_of_many(call: Call) -> Value:
    """x[..., index, ...], without that axis."""
    x = call.input
    axis = axis_of(call, call.given["dim"], x)
    return _one(call, x, axis, call.given["index"] % x.own[axis], call.name)


def _one(call: Call, x: Value, axis: int, index: int, name: str) -> Value:
    part = call.forms.taken(x, {axis: [index]}, name)
    return without(call, part, (axis,), name)


def parts(sizes: Callable[[Call, int], list[int]]) -> Callable[[Call], tuple[Value, ...]]:
    """A rule for what cuts a tensor. Args: sizes: (call, size of the axis) -> sizes of the parts."""

    def rule(call: Call) -> tuple[Value, ...]:
        x = call.input
        axis = axis_of(call, call.given["dim"], x)
        found, start = [], 0
        for index, size in enumerate(sizes(call, x.own[axis])):
            found.append(call.forms.taken(x, {axis: range(start, start + size)}, f"{call.name}.{index}"))
            start += size
        return tuple(found)

    return rule


def _even(call: Call, size: int) -> list[int]:
    each = call.given["split_size"]
    if not isinstance(each, int):
        return list(each)
    return [min(each, size - start) for start in range(0, size, each)]


def _chunks(call: Call, size: int) -> list[int]:
    return [tuple(part.shape)[call.given["dim"] % len(call.input.shape)] for part in call.result]


def unbound(call: Call) -> tuple[Value, ...]:
    x = call.input
    axis = axis_of(call, call.given["dim"], x)
    return tuple(_one(call, x, axis, index, f"{call.name}.{index}") for index in range(x.own[axis]))


def index_select(call: Call) -> Value:
    axis, places = axis_of(call, call.given["dim"], call.input), call.given["index"]
    if not isinstance(places, Tensor):
        raise call.refuse("selects by an index that is computed from the data.", "Select by constants.")
    return call.forms.taken(call.input, {axis: places.tolist()}, call.name)


def index(call: Call) -> Value:
    """x[:, places] with constant places along one axis, or masks of them."""
    x, given = call.input, list(call.given["indices"])
    there = [(dim, each) for dim, each in enumerate(given) if each is not None]
    if len(there) != 1 or not isinstance(there[0][1], Tensor) or there[0][0] == x.batch:
        raise call.refuse("is indexed in several dimensions, or by the data.", "Index one dimension by constants.")
    dim, each = there[0]
    places = each.nonzero().flatten() if each.dtype == torch.bool else each
    size = x.shape[dim]
    flat = [int(place) % size for place in places.flatten().tolist()]
    taken = call.forms.taken(x, {axis_of(call, dim, x): flat}, call.name)
    return call.forms.reshaped(labelled(call, taken), call.shape) if places.dim() != 1 else taken


def flip(call: Call) -> Value:
    x = call.input
    axes = [axis_of(call, dim, x) for dim in call.given["dims"]]
    return call.forms.taken(x, {axis: range(x.own[axis] - 1, -1, -1) for axis in axes}, call.name)


def roll(call: Call) -> Value:
    x, dims = call.input, list(call.given["dims"])
    if not dims:
        raise call.refuse("rolls the flattened tensor.", "Name the dimensions.")
    axes = {axis_of(call, dim, x): shift for dim, shift in zip(dims, call.given["shifts"], strict=True)}
    places = {a: [(i - shift) % x.own[a] for i in range(x.own[a])] for a, shift in axes.items()}
    return call.forms.taken(x, places, call.name)


def expand(call: Call) -> Value:
    """Axes of one element become larger. What is element by element reads them as they are."""
    x, out = call.input, call.shape
    x = call.forms.reshaped(labelled(call, x), (1,) * (len(out) - len(x.shape)) + x.shape)
    pairs = enumerate(zip(x.own, (*out[: x.batch], *out[x.batch + 1 :]), strict=True))
    return call.forms.taken(x, {axis: [0] * new for axis, (old, new) in pairs if new != old}, call.name)


def repeat(call: Call) -> Value:
    x, times = call.input, list(call.given.get("repeats") or call.given["dims"])
    times = [1] * (len(x.shape) - len(times)) + times
    x = call.forms.reshaped(labelled(call, x), (1,) * (len(times) - len(x.shape)) + x.shape)
    if times.pop(x.batch) != 1:
        raise call.refuse("repeats the batch.", "Each sample is run by itself on the chip.")
    sizes = enumerate(zip(x.own, times, strict=True))
    return call.forms.taken(x, {axis: list(range(size)) * n for axis, (size, n) in sizes if n != 1}, call.name)


def repeat_interleave(call: Call) -> Value:
    x, times = call.input, call.given["repeats"]
    if not isinstance(times, int) or call.given["dim"] is None:
        raise call.refuse("repeats by a tensor, or without a dimension.", "Give a number and a dimension.")
    dim = call.given["dim"] % len(x.shape)
    if dim == x.batch:  # copies of each sample, one behind another, are joined with the batch
        apart = call.forms.reshaped(labelled(call, x, f"{call.name}.in"), (*x.shape[: dim + 1], 1, *x.shape[dim + 1 :]))
        copied = call.forms.taken(apart, {dim: [0] * times}, call.name)
        return call.forms.reshaped(copied, call.shape)
    axis = axis_of(call, dim, x)
    return call.forms.taken(x, {axis: [i for i in range(x.own[axis]) for _ in range(times)]}, call.name)


RULES: Rules = {
    "slice": part,
    "select": one_of_many,
    "narrow": narrow,
    "split": parts(_even),
    **dict.fromkeys(("split_with_sizes", "tensor_split", "chunk", "unsafe_chunk"), parts(_chunks)),
    "unbind": unbound,
    "index_select": index_select,
    "index": index,
    "flip": flip,
    "roll": roll,
    **dict.fromkeys(("expand", "expand_as", "broadcast_to"), expand),
    **dict.fromkeys(("repeat", "tile"), repeat),
    "repeat_interleave": repeat_interleave,
}
