"""Calls that join tensors, or put one into another."""

from dataclasses import replace
from math import prod
from typing import Any

from torch import Tensor

from spaces.graph.errors import UnsupportedNetwork
from spaces.graph.op import Op
from spaces.graph.rules.common import Made, Rules, axis_of, for_each_sample, labelled, made, stored_constant
from spaces.graph.rules.parts import expand
from spaces.graph.trace import Call
from spaces.graph.value import Value


def concat(call: Call) -> Op:
    given = [part for part in call.given["tensors"] if prod(part.shape)]
    values = [v for v in given if isinstance(v, Value)]
    first = values[0]
    axis, order = axis_of(call, call.given["dim"], first), first.seen.order
    parts = []
    for index, value in enumerate(given):
        if isinstance(value, Tensor):
            constant = for_each_sample(call, value, first.rank, first.batch)
            value = stored_constant(call, constant, order, f"{call.name}.constant.{index}", first.batch, given[index])
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


RULES: Rules = {
    **dict.fromkeys(("cat", "concat", "concatenate"), concat),
    "stack": stack,
    "slice_scatter": slice_scatter,
    "select_scatter": select_scatter,
    "copy": copied,
    "one_of": one_of,
}
