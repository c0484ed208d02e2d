"""What all rules use."""

from collections.abc import Callable
from typing import Any

from spaces.graph.op import Op
from spaces.graph.trace import Call, Value

Rule = Callable[[Call], Op | list[Op] | Value]
Rules = dict[str, Rule]  # by the name of an ATen operator


def made(call: Call, kind: str, inputs: list[Value], **more: Any) -> Op:
    """The operator that a call is."""
    return Op(kind, call.name, call.where, [v.name for v in inputs], call.shape[1:], **more)


def each_dimension(value: Any, dims: int) -> list[int]:
    """A number for each spatial dimension, of one for all or of a sequence of one or of all."""
    numbers = list(value) if isinstance(value, (tuple, list)) else [int(value)]
    return numbers * dims if len(numbers) == 1 else numbers


def identity(call: Call) -> Value:
    """The tensor that goes in comes out."""
    return call.input
