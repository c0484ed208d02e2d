"""Calls of which nothing is left: they cast, copy, drop in training alone, or name a result."""

from typing import Any

from spaces.graph.rules.common import Rules, identity
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


DROPOUTS = ("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout")
CASTS = ("to", "_to_copy", "type_as", "float")
VANISHING = ("clone", "contiguous", "detach", "alias", "lift_fresh_copy", "positive")

RULES: Rules = {
    **dict.fromkeys(DROPOUTS, dropout),
    **dict.fromkeys(CASTS, cast),
    **dict.fromkeys(VANISHING, identity),
    "getitem": item,
}
