"""Calls on tensors whose batch was joined with other dimensions, such as windows of an image or heads of attention.

Such a call is read as one on tensors in which the batch and what it was joined with are dimensions of their own. What
it gives is joined again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from torch import Tensor

from spaces.graph.errors import JoinedBatch
from spaces.graph.trace import Call
from spaces.graph.value import Value
from spaces.graph.view import SAMPLES, Shape

DIMS = ("dim", "dims", "dim0", "dim1")
OPERANDS = ("self", "other", "mat2", "")  # arguments that may be constants for each element of the batch; "": in a list


@dataclass(frozen=True)
class Joined:
    """A dimension of which the batch is a part.

    Attributes:
        place: of the dimension.
        sizes: its parts, one of which is the batch.
        at: which one.
    """

    place: int
    sizes: Shape
    at: int


def apart(call: Call, refusal: JoinedBatch) -> tuple[Call, Joined]:
    """The call with the batch by itself.

    Raises:
        JoinedBatch: the refusal, where tensors have the batch in different places, or the call works along that.
    """
    kinds = {(_joined(value), len(value.shape)) for value in _values(call.given) if value.seen.batch is None}
    if len(kinds) != 1:
        raise refusal
    ((joined, rank),) = kinds

    def parted(name: str, given: Any) -> Any:
        if isinstance(given, Value):
            return call.forms.reshaped(replace(given, label=f"{call.name}.in"), _split(given.shape, joined))
        if isinstance(given, Tensor) and name in OPERANDS and given.dim() == rank:
            whole = given.shape[joined.place] == prod(joined.sizes)
            return given.reshape(_split(given.shape, joined)) if whole else given
        if name in DIMS and given is not None:
            return _moved(given, joined, rank, refusal)
        return [parted("", each) for each in given] if isinstance(given, (list, tuple)) else given

    given = {name: parted(name, each) for name, each in call.given.items()}
    more = len(joined.sizes) - 1 if joined.place == 0 else 0
    return replace(call, given=given, result=_parted_result(call.result, joined), joined=more), joined


def together(call: Call, value: Value, joined: Joined) -> Value:
    """What a call gives, with the batch joined as it was."""
    first = value.batch - joined.at
    last = first + len(joined.sizes)
    shape = (*value.shape[:first], prod(value.shape[first:last]), *value.shape[last:])
    return call.forms.reshaped(replace(value, label=f"{call.name}.out"), shape)


def _values(given: Any) -> list[Value]:
    if isinstance(given, Value):
        return [given]
    each = given.values() if isinstance(given, dict) else given if isinstance(given, (list, tuple)) else ()
    return [value for part in each for value in _values(part)]


def _joined(value: Value) -> Joined:
    view = value.seen
    place = next(place for place, axis in enumerate(view.axes) if 0 in axis)
    axis = view.axes[place]
    at = axis.index(0)
    before, behind = view.size(axis[:at]), view.size(axis[at + 1 :])
    return Joined(place, tuple(n for n in (before, SAMPLES, behind) if n > 1), int(before > 1))


def _split(shape: Sequence[int], joined: Joined) -> Shape:
    return (*shape[: joined.place], *joined.sizes, *shape[joined.place + 1 :])


def _moved(dims: Any, joined: Joined, rank: int, refusal: JoinedBatch) -> Any:
    if not isinstance(dims, int):
        return [_moved(dim, joined, rank, refusal) for dim in dims]
    dim = dims % rank
    if dim == joined.place:
        raise refusal
    return dim if dim < joined.place else dim + len(joined.sizes) - 1


def _parted_result(result: Any, joined: Joined) -> Any:
    """What the call gave, as a tensor of the shape that the call gives with the batch by itself."""
    if not isinstance(result, Tensor):
        return [_parted_result(each, joined) for each in result]
    here = result.shape[joined.place : joined.place + 1] == (prod(joined.sizes),)
    return result.reshape(_split(result.shape, joined if here else replace(joined, place=joined.place - 1)))
