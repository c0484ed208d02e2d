"""Calls that move, cut, join or mark tensors, and calls that vanish."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import torch
from torch import Tensor

from spaces.graph.errors import UnsupportedNetwork
from spaces.graph.op import PAD, Op
from spaces.graph.rules.common import (
    Made,
    Rules,
    added,
    axis_of,
    for_each_sample,
    identity,
    labelled,
    made,
    plain,
    reshaped,
    stored_constant,
    without,
)
from spaces.graph.trace import Call
from spaces.graph.value import Value
from spaces.graph.view import View

# Joining


def concat(call: Call) -> Op:
    given = [part for part in call.given["tensors"] if prod(part.shape)]
    values = [v for v in given if isinstance(v, Value)]
    first = values[0]
    axis, order = axis_of(call, call.given["dim"], first), first.seen.order
    parts = []
    for index, value in enumerate(given):
        if isinstance(value, Tensor):
            constant = for_each_sample(call, value, first.rank, first.batch)
            value = stored_constant(call, constant, order, f"{call.name}.constant.{index}", first.batch)
        parts.append(call.forms.stored(value, order))
    return made(call, "concat", parts, order, first.batch, attributes={"axis": order.index(axis)})


def stack(call: Call) -> Op:
    given = list(call.given["tensors"])
    first = next(v for v in given if isinstance(v, Value))
    dim, parts = int(call.given["dim"]) % (len(first.shape) + 1), []
    for value in given:
        if isinstance(value, Value):
            shape = (*value.shape[:dim], 1, *value.shape[dim:])
            parts.append(call.forms.reshaped(labelled(call, value, f"{call.name}.part"), shape))
        else:
            parts.append(value.unsqueeze(dim))
    return concat(replace(call, given={"tensors": parts, "dim": dim}))


# Other shapes


def reshape(call: Call) -> Value:
    return call.forms.reshaped(labelled(call, call.input), call.shape)


def permute(call: Call) -> Value:
    return _permuted(call, [int(d) for d in call.given["dims"]])


def transpose(call: Call) -> Value:
    dims = list(range(len(call.input.shape)))
    names = ("dim0", "dim1") if "dim0" in call.given else ("axis0", "axis1")
    first, second = (int(call.given[name]) % len(dims) for name in names)
    dims[first], dims[second] = dims[second], dims[first]
    return _permuted(call, dims)


def turned(call: Call) -> Value:
    return _permuted(call, range(len(call.input.shape) - 1, -1, -1))


def movedim(call: Call) -> Value:
    names = ("source", "destination")
    source, target = ([int(d)] if isinstance(d := call.given[n], int) else [int(e) for e in d] for n in names)
    dims = len(call.input.shape)
    places = dict(zip((t % dims for t in target), (s % dims for s in source), strict=True))
    rest = iter(d for d in range(dims) if d not in places.values())
    return _permuted(call, [places[d] if d in places else next(rest) for d in range(dims)])


def _permuted(call: Call, dims: Sequence[int]) -> Value:
    x = call.input
    dims = [d % len(x.shape) for d in dims]
    return replace(labelled(call, x), shape=tuple(x.shape[d] for d in dims), view=x.seen.permuted(dims))


def pixel_shuffle(call: Call) -> Value:
    """(C r^2, H, W) to (C, H r, W r)."""
    x, r = plain(call, call.input), call.given["upscale_factor"]
    channels, height, width = x.shape[1] // r**2, *x.shape[2:]
    split = reshaped(call, x, (channels, r, r, height, width))
    mixed = _permuted(replace(call, given={"x": split}), (0, 1, 4, 2, 5, 3))
    return reshaped(call, mixed, (channels, height * r, width * r))


def pixel_unshuffle(call: Call) -> Value:
    """(C, H r, W r) to (C r^2, H, W)."""
    x, r = plain(call, call.input), call.given["downscale_factor"]
    channels, height, width = x.shape[1], x.shape[2] // r, x.shape[3] // r
    split = reshaped(call, x, (channels, height, r, width, r))
    mixed = _permuted(replace(call, given={"x": split}), (0, 1, 3, 5, 2, 4))
    return reshaped(call, mixed, (channels * r**2, height, width))


def channel_shuffle(call: Call) -> Value:
    x, groups = plain(call, call.input), call.given["groups"]
    channels, *spatial = x.own
    split = reshaped(call, x, (groups, channels // groups, *spatial))
    mixed = _permuted(replace(call, given={"x": split}), (0, 2, 1, *range(3, len(split.shape))))
    return reshaped(call, mixed, (channels, *spatial))


# Parts


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


# Copies


def expand(call: Call) -> Value:
    """Axes of one element become larger. What is element by element reads them as they are."""
    x, out = call.input, call.shape
    x = call.forms.reshaped(labelled(call, x), (1,) * (len(out) - len(x.shape)) + x.shape)
    pairs = enumerate(zip(x.own, (*out[: x.batch], *out[x.batch + 1 :]), strict=True))
    return call.forms.taken(x, {axis: [0] * new for axis, (old, new) in pairs if new != old}, call.name)


def repeat(call: Call) -> Value:
    x, times = call.input, list(call.given.get("repeats") or call.given["dims"])
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


# Borders


def pad(call: Call) -> Made:
    """Zeros around a tensor, which the convolution that reads it takes over; or copies of what lies at its border."""
    x, amounts, mode = call.input, list(call.given.get("pad") or call.given["padding"]), _mode(call)
    if not any(amounts):
        return x
    pairs = [(low, high) for low, high in zip(amounts[::2], amounts[1::2], strict=True)][::-1]
    pairs = [(0, 0)] * (len(x.shape) - len(pairs)) + pairs
    if any(pairs.pop(x.batch)):
        raise call.refuse("pads the batch.", "Each sample is run by itself on the chip.")
    cut = {
        a: range(max(0, -low), x.own[a] - max(0, -high)) for a, (low, high) in enumerate(pairs) if min(low, high) < 0
    }
    if cut:
        x, pairs = call.forms.taken(x, cut, f"{call.name}.cut"), [(max(0, low), max(0, high)) for low, high in pairs]
    if mode != "constant":
        return call.forms.taken(x, {a: mirrored(x.own[a], *pair, mode) for a, pair in enumerate(pairs)}, call.name)
    value = float(call.given.get("value") or 0.0)
    if not value:
        return _zeros_around(call, x, pairs)
    x = call.forms.stored(x)
    for place, axis in enumerate(x.seen.whole):
        x = _extended(call, x, place, pairs[axis], value) if any(pairs[axis]) else x
    return x


def _mode(call: Call) -> str:
    if "padding" in call.given:  # of an operator that is named after it
        return "reflect" if call.operator.startswith("reflection") else "replicate"
    return str(call.given.get("mode", "constant"))


def mirrored(size: int, low: int, high: int, mode: str) -> list[int]:
    """Where the elements of a padded axis come from."""
    there = torch.arange(size, dtype=torch.float32).view(1, 1, size)
    return torch.nn.functional.pad(there, (low, high), mode).flatten().long().tolist()


def _zeros_around(call: Call, x: Value, pairs: list[tuple[int, int]]) -> Op | Value:
    order = x.seen.order
    x = call.forms.stored(x, order)
    stored = [pairs[axis] for axis in order]
    if any(stored[0]):
        x = _extended(call, x, 0, stored[0], 0.0)
        if not any(map(any, stored[1:])):
            return x
    return made(call, PAD, [x], order, x.batch, attributes={"padding": [list(pair) for pair in stored[1:]]})


def _extended(call: Call, x: Value, place: int, pair: tuple[int, int], value: float) -> Value:
    """A constant before and behind a stored tensor, along one of its axes."""
    order, parts, own = x.seen.whole, [x], list(x.own)
    for count, at in zip(pair, (0, len(parts) + 1), strict=True):
        if count:
            shape = [count if axis == order[place] else size for axis, size in enumerate(own)]
            name = f"{call.name}.border.{place}.{at}"
            parts.insert(at, stored_constant(call, torch.full(shape, value), order, name, x.batch))
    own[order[place]] += sum(pair)
    name = call.name if tuple(own) == _own_of(call, x) else f"{call.name}.{place}"
    stored = tuple(own[axis] for axis in order)
    joined = Op("concat", name, call.where, [v.name for v in parts], stored, {"axis": place})
    joined.view = View.ordered(stored, order, x.batch)
    return added(call, joined, (*own[: x.batch], x.shape[x.batch], *own[x.batch :]))


def _own_of(call: Call, x: Value) -> tuple[int, ...]:
    return (*call.shape[: x.batch], *call.shape[x.batch + 1 :])


def slice_scatter(call: Call) -> Made:
    """A tensor of which a part is replaced."""
    x, new, given = call.given["self"], call.given["src"], call.given
    size = call.shape[given["dim"] % len(call.shape)]
    start, end, step = slice(given["start"], given["end"], given["step"]).indices(size)
    if step != 1:
        raise call.refuse("replaces parts of a tensor with a step.", "Concatenate the parts instead.")
    dim, parts = given["dim"] % len(call.shape), [new]
    for name, (low, high) in (("before", (0, start)), ("behind", (end, size))):
        if low == high:
            continue
        if isinstance(x, Value):
            rest: Any = call.forms.taken(x, {axis_of(call, dim, x): range(low, high)}, f"{call.name}.{name}")
        else:
            rest = x.narrow(dim, low, high - low)
        parts.insert(0 if low == 0 else len(parts), rest)
    return new if len(parts) == 1 else concat(replace(call, given={"tensors": parts, "dim": dim}))


def select_scatter(call: Call) -> Made:
    """A tensor of which one place of a dimension is replaced."""
    new, given = call.given["src"], call.given
    dim = given["dim"] % len(call.shape)
    shape = (*call.shape[:dim], 1, *call.shape[dim + 1 :])
    if isinstance(new, Value):
        new = call.forms.reshaped(labelled(call, new, f"{call.name}.in"), shape)
    else:
        new = new.reshape(shape)
    at = given["index"] % call.shape[dim]
    part = {"self": given["self"], "src": new, "dim": dim, "start": at, "end": at + 1, "step": 1}
    return slice_scatter(replace(call, given=part))


def copied(call: Call) -> Made:
    """A tensor in the place of another one."""
    source = call.given["src"]
    if not isinstance(source, Value):
        raise call.refuse("overwrites a tensor with a constant.", "Use the constant itself.")
    return expand(replace(call, given={"self": source}))


# Marks, and what vanishes


def one_of(call: Call) -> Op:
    values = list(call.given["alternatives"])
    for index, value in enumerate(values):
        if value.shape != values[0].shape:
            raise UnsupportedNetwork(
                f"{call.path}.alternatives.{index}",
                f"gives a tensor of shape {value.shape}, alternative 0 one of {values[0].shape}.",
                "Alternatives of a OneOf must agree: stride, padding and channels of their last layers.",
            )
    order = values[0].seen.order
    values = [call.forms.stored(value, order) for value in values]
    return made(call, "select", values, order, values[0].batch, attributes={"choice": f"{call.path}/branch"})


def dropout(call: Call) -> Value:
    if call.given["train"] and call.given["p"]:
        raise call.refuse("drops in evaluation too.", "Pass training=self.training.")
    return call.input


def cast(call: Call) -> Value:
    """Nothing to do on integers, whatever kind of float it is."""
    if not call.result.is_floating_point():
        raise call.refuse(f"makes a tensor of {call.result.dtype}.", "Tensors are floats: leave the cast out.")
    return call.input


def item(call: Call) -> Any:
    """One of several results."""
    parts, index = call.given["input"], call.given["index"]
    if isinstance(parts, tuple):
        return parts[index]
    if index:
        raise call.refuse("reads a second result.", "Only the first is supported; set return_indices=False.")
    return parts


DROPOUTS = ("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout")
CASTS = ("to", "_to_copy", "type_as", "float")
VANISHING = ("clone", "contiguous", "detach", "alias", "lift_fresh_copy", "positive")
RESHAPES = ("flatten", "reshape", "view", "_unsafe_view", "squeeze", "unsqueeze", "unflatten", "view_as", "reshape_as")

RULES: Rules = {
    **dict.fromkeys(("cat", "concat", "concatenate"), concat),
    "stack": stack,
    **dict.fromkeys(RESHAPES, reshape),
    "permute": permute,
    "t": turned,
    **dict.fromkeys(("transpose", "swapaxes", "swapdims"), transpose),
    "movedim": movedim,
    "moveaxis": movedim,
    "pixel_shuffle": pixel_shuffle,
    "pixel_unshuffle": pixel_unshuffle,
    **dict.fromkeys(("channel_shuffle", "native_channel_shuffle"), channel_shuffle),
    "slice": part,
    "select": one_of_many,
    "narrow": narrow,
    "split": parts(_even),
    "split_with_sizes": parts(_chunks),
    "tensor_split": parts(_chunks),
    "chunk": parts(_chunks),
    "unsafe_chunk": parts(_chunks),
    "unbind": unbound,
    "index_select": index_select,
    "index": index,
    "flip": flip,
    "roll": roll,
    **dict.fromkeys(("expand", "expand_as", "broadcast_to"), expand),
    **dict.fromkeys(("repeat", "tile"), repeat),
    "repeat_interleave": repeat_interleave,
    **dict.fromkeys(("pad", "constant_pad_nd"), pad),
    **{f"{mode}_pad{d}d": pad for mode in ("reflection", "replication") for d in (1, 2, 3)},
    "slice_scatter": slice_scatter,
    "select_scatter": select_scatter,
    "copy": copied,
    "one_of": one_of,
    **dict.fromkeys(DROPOUTS, dropout),
    **dict.fromkeys(CASTS, cast),
    **dict.fromkeys(VANISHING, identity),
    "getitem": item,
}
