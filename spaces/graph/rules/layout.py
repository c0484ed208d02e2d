"""Calls that move or mark tensors: concatenation, reshapes, padding, alternatives, and calls that vanish."""

import math

import torch
from torch import nn
from torch.nn import functional as F

from spaces.graph.errors import UnsupportedNetwork
from spaces.graph.op import Op
from spaces.graph.rules.common import Rules, identity, made
from spaces.graph.trace import Call, Value
from spaces.one_of import Select


def concat(call: Call) -> Op:
    a = call.bind("tensors", "dim", dim=0)
    values = list(a["tensors"])
    if a["dim"] not in (1, 1 - len(values[0].shape)) or not all(isinstance(v, Value) for v in values):
        raise call.refuse(
            f"concatenates along dimension {a['dim']}, or constants.", "Channels (dimension 1) are supported."
        )
    return made(call, "concat", values, attributes={"axis": 0})


def reshape(call: Call) -> Op | Value:
    x = identity(call)
    out = tuple(call.result.shape)
    if out == x.shape:
        return x
    if len(x.shape) >= 2 and out == (x.shape[0], math.prod(x.shape[1:])):
        return made(call, "flatten", [x], attributes={"shape": list(out[1:])})
    raise call.refuse(f"reshapes {x.shape} to {out}.", "Flattening to (N, features) is supported.")


def pad(call: Call) -> Op:
    """Zeros around a tensor. The convolution that reads it takes them over."""
    a = call.bind("input", "pad", "mode", "value", mode="constant", value=None)
    if isinstance(call.target, nn.Module):
        a |= {"input": identity(call), "pad": call.target.padding, "value": getattr(call.target, "value", 0)}
    if a["mode"] != "constant" or a["value"]:
        raise call.refuse(f"pads by '{a['mode']}', with {a['value']}.", "Zeros are supported.")
    pairs = [[low, high] for low, high in zip(a["pad"][::2], a["pad"][1::2], strict=True)][::-1]
    dims = len(a["input"].shape) - 2
    if len(pairs) > dims or min(map(min, pairs)) < 0:
        raise call.refuse(f"pads by {tuple(a['pad'])}.", "Spatial dimensions can be padded, and not cropped.")
    return made(call, "pad", [a["input"]], attributes={"padding": [[0, 0]] * (dims - len(pairs)) + pairs})


def select(call: Call) -> Op:
    values = list(call.args)
    where = call.path.removesuffix(".select")
    for index, value in enumerate(values):
        if value.shape != values[0].shape:
            raise UnsupportedNetwork(
                f"{where}.alternatives.{index}",
                f"gives a tensor of shape {value.shape}, alternative 0 one of {values[0].shape}.",
                "Alternatives of a OneOf must agree: stride, padding and channels of their last layers.",
            )
    return made(call, "select", values, attributes={"choice": f"{where}/branch"})


def dropout(call: Call) -> Value:
    a = call.bind("input", "p", "training", p=0.5, training=True)
    if a["training"] and a["p"]:
        raise call.refuse("drops in evaluation too.", "Pass training=self.training.")
    return identity(call)


RULES: Rules = {
    **dict.fromkeys((torch.cat, torch.concat), concat),
    **dict.fromkeys((nn.Flatten, torch.flatten, torch.reshape, torch.squeeze), reshape),
    **dict.fromkeys(("flatten", "reshape", "squeeze", "view"), reshape),
    **dict.fromkeys((nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d, F.pad), pad),
    **dict.fromkeys((nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d), pad),
    Select: select,
    **dict.fromkeys((nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout), identity),
    **dict.fromkeys((F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout), dropout),
    **dict.fromkeys((torch.clone, "contiguous", "clone", "float"), identity),  # nothing to do on integers
}
