"""Calls of which nothing is left: they cast, copy, drop in training alone, or name a result."""

from typing import Any

from spaces.graph.rules.common import Made, Rules, identity
from spaces.graph.trace import Call
from spaces.graph.value import Value


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


def as_they_are(call: Call) -> Made:
    """Tensors that have as many dimensions as are asked for."""
    given = call.given.get("tensors")
    values = (call.input,) if given is None else tuple(given)
    results = (call.result,) if given is None else tuple(call.result)
    if any(value.shape != tuple(result.shape) for value, result in zip(values, results, strict=True)):
        raise call.refuse("gives a tensor more dimensions, before the batch.", "Use unsqueeze, behind the batch.")
    return values[0] if given is None else values


DROPOUTS = ("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout")
CASTS = ("to", "_to_copy", "type_as", "float")
VANISHING = ("clone", "contiguous", "detach", "alias", "lift_fresh_copy", "positive")

RULES: Rules = {
    **dict.fromkeys(DROPOUTS, dropout),
    **dict.fromkeys(CASTS, cast),
    **dict.fromkeys(VANISHING, identity),
    "getitem": item,
    **dict.fromkeys(("atleast_1d", "atleast_2d", "atleast_3d"), as_they_are),
}
