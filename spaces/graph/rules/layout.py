"""Calls that move or mark tensors: concatenation, reshapes, padding, alternatives, and calls that vanish."""

import math
from typing import Any

from spaces.graph.errors import UnsupportedNetwork
from spaces.graph.op import Op
from spaces.graph.rules.common import Rules, identity, made
from spaces.graph.trace import Call, Value


def concat(call: Call) -> Op:
    values, dim = list(call.given["tensors"]), call.given["dim"]
    if dim not in (1, 1 - len(call.shape)) or not all(isinstance(v, Value) for v in values):
        raise call.refuse(f"concatenates along dimension {dim}, or constants.", "Channels (dimension 1) are supported.")
    return made(call, "concat", values, attributes={"axis": 0})


def reshape(call: Call) -> Op | Value:
    x = call.input
    out = call.shape
    if out == x.shape:
        return x
    if len(x.shape) >= 2 and out == (x.shape[0], math.prod(x.shape[1:])):
        return made(call, "flatten", [x], attributes={"shape": list(out[1:])})
    raise call.refuse(f"reshapes {x.shape} to {out}.", "Flattening to (N, features) is supported.")


def pad(call: Call) -> Op | Value:
    """Zeros around a tensor. The convolution that reads it takes them over."""
    x, amounts, mode = call.input, list(call.given["pad"]), call.given.get("mode", "constant")
    if not any(amounts):
        return x
    if mode != "constant" or call.given.get("value"):
        what = f"by '{mode}'" if mode != "constant" else f"with {call.given['value']}"
        raise call.refuse(f"pads {what}.", "Zeros are supported: change it and train again.")
    pairs = [[low, high] for low, high in zip(amounts[::2], amounts[1::2], strict=True)][::-1]
    dims = len(x.shape) - 2
    if len(pairs) > dims or min(map(min, pairs)) < 0:
        raise call.refuse(f"pads by {tuple(amounts)}.", "Spatial dimensions can be padded, and not cropped.")
    return made(call, "pad", [x], attributes={"padding": [[0, 0]] * (dims - len(pairs)) + pairs})


def one_of(call: Call) -> Op:
    values = list(call.given["alternatives"])
    for index, value in enumerate(values):
        if value.shape != values[0].shape:
            raise UnsupportedNetwork(
                f"{call.path}.alternatives.{index}",
                f"gives a tensor of shape {value.shape}, alternative 0 one of {values[0].shape}.",
                "Alternatives of a OneOf must agree: stride, padding and channels of their last layers.",
            )
    return made(call, "select", values, attributes={"choice": f"{call.path}/branch"})


def dropout(call: Call) -> Value:
    if call.given["train"] and call.given["p"]:
        raise call.refuse("drops in evaluation too.", "Pass training=self.training.")
    return call.input


def cast(call: Call) -> Value:
    """Nothing to do on integers, whatever kind of float it is."""
    if not call.result.is_floating_point():
        raise call.refuse(f"makes a tensor of {call.result.dtype}.", "Tensors are floats: leave the cast out.")
    return call.input


def part(call: Call) -> Value:
    """All of a tensor, which is what `x[:, :]` and an index of Python's slices often are."""
    if call.shape != call.input.shape:
        raise call.refuse(
            f"takes a part of a tensor of shape {call.input.shape}.", "Split the layer before it instead."
        )
    return call.input


def item(call: Call) -> Any:
    """One of several results. Only the first of an operator with one of interest is a tensor here."""
    if call.given["index"]:
        raise call.refuse("reads a second result.", "Only the first is supported; set return_indices=False.")
    return call.input


DROPOUTS = ("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout")
CASTS = ("to", "_to_copy", "type_as", "float")
VANISHING = ("clone", "contiguous", "detach", "alias", "lift_fresh_copy", "positive")

RULES: Rules = {
    **dict.fromkeys(("cat", "concat", "concatenate"), concat),
    **dict.fromkeys(("flatten", "reshape", "view", "_unsafe_view", "squeeze", "unsqueeze"), reshape),
    **dict.fromkeys(("pad", "constant_pad_nd"), pad),
    "one_of": one_of,
    **dict.fromkeys(DROPOUTS, dropout),
    **dict.fromkeys(CASTS, cast),
    **dict.fromkeys(VANISHING, identity),
    "slice": part,
    "getitem": item,
}
