"""What all rules use."""

from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import Tensor

from spaces.graph.op import Op
from spaces.graph.trace import Call
from spaces.graph.value import Value
from spaces.graph.view import SAMPLES, View

Made = Op | list[Op] | Value | tuple[Value, ...]
Rule = Callable[[Call], Made]
Rules = dict[str, Rule]  # by the name of an ATen operator


def made(
    call: Call, kind: str, inputs: Sequence[Value], order: Sequence[int] | None = None, batch: int = 0, **more: Any
) -> Op:
    """The operator that a call is.

    Args:
        inputs: as they are stored.
        order: of the own axes of the result, as they are stored; None: as the user has them.
        batch: where the user has the batch in the result.
    """
    own = (*call.shape[:batch], *call.shape[batch + 1 :])
    order = range(len(own)) if order is None else order
    stored = tuple(own[axis] for axis in order)
    view = View.ordered(stored, order, batch)
    return Op(kind, call.name, call.where, [v.name for v in inputs], stored, view=view, **more)


def pointwise(call: Call, kind: str, x: Value, name: str = "", **more: Any) -> Op:
    """An operator that does the same to each element, however they lie."""
    return Op(kind, name or call.name, call.where, [x.name], x.seen.stored, view=x.seen, **more)


def added(call: Call, op: Op, shape: Sequence[int]) -> Value:
    """The result of an operator that is one of several that a call becomes. shape: the user's, with the batch."""
    call.forms.add(op)
    return Value(op.name, tuple(shape), op.view)


def plain(call: Call, x: Value) -> Value:
    """The batch first, then channels, then maps."""
    if x.batch:
        raise call.refuse("reads a tensor whose batch is not its dimension 0.", "Transpose it before.")
    return call.forms.stored(x, range(x.rank))


def channels_first(call: Call, x: Value) -> Value:
    """The channels of dimension 1 first, and the rest as it lies."""
    channels = call.joined
    if x.batch > channels:
        raise call.refuse("reads a tensor whose batch is not its dimension 0.", "Transpose it before.")
    return call.forms.stored(x, (channels, *(axis for axis in x.seen.order if axis != channels)))


def refuse_joined(call: Call) -> None:
    """Raises UnsupportedNetwork where the batch was joined with others, of which a rule does not know."""
    if call.joined:
        raise call.refuse(
            "works on frames or windows that are joined with the batch.", "Part them before it, or do it to the whole."
        )


def reshaped(call: Call, x: Value, own: Sequence[int], label: str = "") -> Value:
    """x with own axes of other sizes. label: what names the operator that this may take."""
    shape = (*own[: x.batch], x.shape[x.batch], *own[x.batch :])
    return call.forms.reshaped(labelled(call, x, label), shape)


def labelled(call: Call, x: Value, label: str = "") -> Value:
    return Value(x.name, x.shape, x.view, label or call.name)


def without(call: Call, x: Value, axes: Collection[int], label: str = "") -> Value:
    """x without own axes of one element."""
    gone = {axis + (axis >= x.batch) for axis in axes}
    shape = [n for dim, n in enumerate(x.shape) if dim not in gone]
    return call.forms.reshaped(labelled(call, x, label), shape)


def axis_of(call: Call, dim: int, x: Value) -> int:
    """The own axis of a value that a dimension is. Raises UnsupportedNetwork for the batch."""
    dim %= len(x.shape)
    if dim == x.batch:
        raise call.refuse("works along the batch.", "Each sample is run by itself on the chip: leave the batch alone.")
    return dim - (dim > x.batch)


def each_dimension(value: Any, dims: int) -> list[int]:
    """A number for each spatial dimension, of one for all or of a sequence of one or of all."""
    numbers = list(value) if isinstance(value, (tuple, list)) else [int(value)]
    return numbers * dims if len(numbers) == 1 else numbers


def identity(call: Call) -> Value:
    """The tensor that goes in comes out."""
    return call.input


def for_each_sample(call: Call, constant: Tensor, rank: int, batch: int = 0) -> Tensor:
    """A constant as all samples have it: (*shape), with so many own axes, those of one element among them.

    Raises:
        UnsupportedNetwork: samples have different ones.
    """
    value = constant.detach()
    value = value.reshape((1,) * (rank + 1 - value.dim()) + tuple(value.shape))
    if value.dim() != rank + 1 or not torch.equal(value.narrow(batch, 0, 1).expand_as(value), value):
        raise call.refuse(
            f"combines a tensor of {rank} dimensions and the batch with a constant of shape {tuple(constant.shape)}.",
            "A constant has a dimension of 1 for the batch.",
        )
    return value.select(batch, 0)


def stored_constant(
    call: Call, constant: Tensor, order: Sequence[int], name: str, batch: int = 0, source: Tensor | None = None
) -> Value:
    """A constant in the graph. One that is read again in the same form is stored once.

    Args:
        constant: without the batch.
        order: in which its axes are stored.
        batch: where the user has the batch.
        source: the user's tensor, of which it is the values.
    """
    key = (id(source), tuple(order), batch, tuple(constant.shape))
    if source is not None and key in call.forms.constants:
        return call.forms.constants[key]
    values = constant.float().permute(*order).contiguous()
    stored, shape = tuple(values.shape), tuple(constant.shape)
    view, frozen = View.ordered(stored, order, batch), not call.learns
    op = Op("constant", name, call.where, [], stored, view=view, values=values, frozen_values=frozen)
    made = added(call, op, (*shape[:batch], SAMPLES, *shape[batch:]))
    if source is not None:
        call.forms.constants[key] = made
    return made
