"""Calls that put something around a tensor."""

from math import inf

import torch

from spaces.graph.op import PAD, Op
from spaces.graph.rules.common import Made, Rules, added, made, stored_constant
from spaces.graph.trace import Call
from spaces.graph.value import Value
from spaces.graph.view import View


def pad(call: Call) -> Made:
    """Something around a tensor: a number, or copies of what lies at its border.

    Convolutions and pools that read it take over zeros, and -inf where it is a maximum that they take.
    """
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
    if value in (0.0, -inf):
        return _left_to_readers(call, x, pairs, value)
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


def _left_to_readers(call: Call, x: Value, pairs: list[tuple[int, int]], value: float) -> Op | Value:
    order = x.seen.order
    x = call.forms.stored(x, order)
    stored = [pairs[axis] for axis in order]
    if any(stored[0]):
        x = _extended(call, x, 0, stored[0], value)
        if not any(map(any, stored[1:])):
            return x
    return made(
        call, PAD, [x], order, x.batch, attributes={"padding": [list(pair) for pair in stored[1:]], "border": value}
    )


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


RULES: Rules = {
    **dict.fromkeys(("pad", "constant_pad_nd"), pad),
    **{f"{mode}_pad{d}d": pad for mode in ("reflection", "replication") for d in (1, 2, 3)},
}
