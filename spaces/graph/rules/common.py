"""What all rules use."""

from collections.abc import Callable
from typing import Any

from spaces.graph.op import Op
from spaces.graph.trace import Call, Value

Rule = Callable[[Call], Op | list[Op] | Value]
# By what is called: a module's class, a function, or the name of a method of a tensor.
Rules = dict[Any, Rule]


def made(call: Call, kind: str, inputs: list[Value], **more: Any) -> Op:
    """The operator that a call is."""
    return Op(kind, call.name, call.where, [v.name for v in inputs], tuple(call.result.shape[1:]), **more)


def each_dimension(value: Any, dims: int) -> list[int]:
    """A number for each spatial dimension, of one for all or of a sequence."""
    return list(value) if isinstance(value, (tuple, list)) else [int(value)] * dims


def identity(call: Call) -> Value:
    """The tensor that goes in comes out."""
    value: Value = call.args[0] if call.args else call.kwargs["input"]
    return value
