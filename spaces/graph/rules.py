"""The rules: what a traced call to a module, function or method is, as operators of ours."""

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from spaces.graph.errors import UnsupportedNetwork
from spaces.graph.op import Op
from spaces.graph.trace import Call, Value


def _op(call: Call, kind: str, inputs: list[Value], **more: Any) -> Op:
    return Op(kind, call.name, call.where, [v.name for v in inputs], tuple(call.result.shape[1:]), **more)


def _tuple(value: Any, dims: int) -> list[int]:
    return list(value) if isinstance(value, (tuple, list)) else [int(value)] * dims


def _conv_padding(call: Call, padding: Any, kernel: list[int], dilation: list[int]) -> list[list[int]]:
    if padding == "valid":
        padding = 0
    if padding == "same":
        totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        return [[t // 2, t - t // 2] for t in totals]
    return [[p, p] for p in _tuple(padding, len(kernel))]


def _convolution(call: Call, x: Value, weight: Tensor, bias: Tensor | None, name: str, settings: dict[str, Any]) -> Op:
    kernel = list(weight.shape[2:])
    dims = len(kernel)
    dilation = _tuple(settings["dilation"], dims)
    attributes = {
        "kernel": kernel,
        "stride": _tuple(settings["stride"], dims),
        "padding": _conv_padding(call, settings["padding"], kernel, dilation),
        "dilation": dilation,
        "groups": int(settings["groups"]),
    }
    if len(x.shape) != dims + 2:
        raise call.refuse(f"reads a tensor of shape {x.shape} without a batch.", "Feed batches.")
    return _op(call, "conv", [x], attributes=attributes, weights=name, weight=weight, bias=bias)


def conv_module(call: Call) -> Op:
    m = call.target
    if m.padding_mode != "zeros":
        raise call.refuse(
            f"has padding_mode '{m.padding_mode}'.", "Only 'zeros' runs on integers: change it and retrain."
        )
    settings = {k: getattr(m, k) for k in ("stride", "padding", "dilation", "groups")}
    return _convolution(call, call.args[0], m.weight, m.bias, call.path, settings)


def conv_function(call: Call) -> Op:
    a = call.bind(
        *("input", "weight", "bias", "stride", "padding", "dilation", "groups"),
        **{"bias": None, "stride": 1, "padding": 0, "dilation": 1, "groups": 1},
    )
    return _convolution(call, a["input"], a["weight"], a["bias"], _owner(call, a["weight"]), a)


def _owner(call: Call, weight: Any) -> str:
    if not isinstance(weight, Tensor) or id(weight) not in call.owned:
        raise call.refuse("has weights that are computed in forward.", "Make them a parameter of the module.")
    return call.owned[id(weight)].removesuffix(".weight")


def _linear(call: Call, x: Value, weight: Tensor, bias: Tensor | None, name: str) -> Op:
    if len(x.shape) != 2:
        raise call.refuse(f"is linear over an input of shape {x.shape}.", "Flatten to (N, features) before it.")
    return _op(call, "linear", [x], attributes={}, weights=name, weight=weight, bias=bias)


def linear_module(call: Call) -> Op:
    return _linear(call, call.args[0], call.target.weight, call.target.bias, call.path)


def linear_function(call: Call) -> Op:
    a = call.bind("input", "weight", "bias", bias=None)
    return _linear(call, a["input"], a["weight"], a["bias"], _owner(call, a["weight"]))


def norm_module(call: Call) -> Op:
    m = call.target
    if m.running_mean is None:
        raise call.refuse("keeps no running statistics.", "Build it with track_running_stats=True.")
    if m.momentum is None:
        raise call.refuse("has momentum None (a cumulative average).", "Give it a number, 0.1 say.")
    return _op(call, "norm", [call.args[0]], norm=call.path, norm_module=m)


def identity(call: Call) -> Value:
    return call.args[0] if call.args else call.kwargs["input"]


def dropout(call: Call) -> Value:
    a = call.bind("input", "p", "training", p=0.5, training=True)
    if a["training"] and a["p"]:
        raise call.refuse("drops in evaluation too.", "Pass training=self.training.")
    return a["input"]


def activation(name: str, **fields: Any) -> Callable[[Call], Op]:
    """A rule for an activation; `fields` are its arguments and their defaults."""

    def rule(call: Call) -> Op:
        if isinstance(call.target, nn.Module):
            arguments = {k: getattr(call.target, k) for k in fields}
        else:
            bound = call.bind("input", *fields, **fields)
            arguments = {k: bound[k] for k in fields}
        return _op(call, "activation", [identity(call)], activation=(name, arguments))

    return rule


def _scaled(factor: Callable[[float], float], offset: Callable[[float], float]) -> Callable[[Call, Value, float], Op]:
    def rule(call: Call, x: Value, number: float) -> Op:
        arguments = {"factor": float(factor(number)), "offset": float(offset(number))}
        return _op(call, "activation", [x], activation=("scale", arguments))

    return rule


SCALARS = {
    "add": _scaled(lambda n: 1.0, lambda n: n),
    "sub": _scaled(lambda n: 1.0, lambda n: -n),
    "mul": _scaled(lambda n: n, lambda n: 0.0),
    "div": _scaled(lambda n: 1 / n, lambda n: 0.0),
}


def arithmetic(kind: str) -> Callable[[Call], Op]:
    """add, sub, mul, div of two tensors, or of a tensor and a number."""

    def rule(call: Call) -> Op:
        a, b = call.args[:2] if len(call.args) > 1 else (call.args[0], call.kwargs["other"])
        if call.kwargs.get("alpha", 1) != 1:
            raise call.refuse("adds with alpha.", "Multiply first.")
        tensors = [v for v in (a, b) if isinstance(v, Value)]
        if len(tensors) == 2:
            return _two_tensors(call, kind, a, b)
        number = b if isinstance(a, Value) else a
        if isinstance(number, Tensor) and number.numel() == 1:
            number = number.item()
        if not isinstance(number, (int, float)) or (kind in ("sub", "div") and isinstance(b, Value)):
            raise call.refuse(
                f"does '{kind}' with a constant that is no single number, or from the left.",
                "Use a BatchNorm for a scale per channel.",
            )
        return SCALARS[kind](call, tensors[0], number)

    return rule


def _two_tensors(call: Call, kind: str, a: Value, b: Value) -> Op:
    if kind not in ("add", "mul"):
        raise call.refuse(f"does '{kind}' of two tensors.", "Sums and products of tensors are supported.")
    if len(a.shape) != len(b.shape) or a.shape[0] != b.shape[0]:
        raise call.refuse(f"combines shapes {a.shape} and {b.shape}.", "Give both the same number of dimensions.")
    if kind == "add" and a.shape != b.shape and a.shape[1] != b.shape[1]:
        raise call.refuse(f"adds shapes {a.shape} and {b.shape}.", "Channels must be equal.")
    return _op(call, kind, [a, b])


def concat(call: Call) -> Op:
    a = call.bind("tensors", "dim", dim=0)
    values = list(a["tensors"])
    if a["dim"] not in (1, 1 - len(values[0].shape)) or not all(isinstance(v, Value) for v in values):
        raise call.refuse(
            f"concatenates along dimension {a['dim']}, or constants.", "Channels (dimension 1) are supported."
        )
    return _op(call, "concat", values, attributes={"axis": 0})


def _pool_padding(size: list[int], kernel: list[int], stride: list[int], padding: list[int], out: tuple[int, ...]):
    """Padding on both sides; ceil_mode shows as more of it at the end."""
    ends = [max(p, (o - 1) * s + k - n - p) for n, k, s, p, o in zip(size, kernel, stride, padding, out, strict=True)]
    return [[p, e] for p, e in zip(padding, ends, strict=True)]


def pool(kind: str, dims: int) -> Callable[[Call], Op]:
    names = ("input", "kernel_size", "stride", "padding")
    names += ("dilation", "ceil_mode") if kind == "max_pool" else ("ceil_mode", "count_include_pad", "divisor_override")
    defaults = {"stride": None, "padding": 0, "dilation": 1, "ceil_mode": False}
    defaults |= {"count_include_pad": True, "divisor_override": None, "return_indices": False}

    def rule(call: Call) -> Op:
        a = call.bind(*names, **defaults)
        if isinstance(call.target, nn.Module):
            a |= {k: getattr(call.target, k) for k in (*names[1:], "return_indices") if hasattr(call.target, k)}
            a["input"] = call.args[0]
        kernel = _tuple(a["kernel_size"], dims)
        stride = _tuple(a["stride"] or a["kernel_size"], dims)
        padding, dilation = _tuple(a["padding"], dims), _tuple(a["dilation"], dims)
        if a["return_indices"]:
            raise call.refuse("returns indices.", "Set return_indices=False.")
        x, out = a["input"], tuple(call.result.shape[2:])
        extents = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
        pads = _pool_padding(list(x.shape[2:]), extents, stride, padding, out)
        attributes = {"kernel": kernel, "stride": stride, "padding": pads, "dilation": dilation}
        if kind == "avg_pool":
            uneven = any(map(any, pads)) and (not a["count_include_pad"] or a["ceil_mode"])
            if uneven or a["divisor_override"]:
                raise call.refuse(
                    "divides by a number that changes at the border.", "Use count_include_pad=True, ceil_mode=False."
                )
            del attributes["dilation"]
        return _op(call, kind, [x], attributes=attributes)

    return rule


def adaptive(kind: str) -> Callable[[Call], Op | Value]:
    def rule(call: Call) -> Op | Value:
        x = identity(call)
        size, out = x.shape[2:], tuple(call.result.shape[2:])
        if any(n % o for n, o in zip(size, out, strict=True)):
            raise call.refuse(f"pools {size} to {out}, in windows of different sizes.", "Choose a divisor of the size.")
        return _even_pool(call, kind, x, out)

    return rule


def _even_pool(call: Call, kind: str, x: Value, out: tuple[int, ...]) -> Op:
    kernel = [n // o for n, o in zip(x.shape[2:], out, strict=True)]
    attributes = {"kernel": kernel, "stride": kernel, "padding": [[0, 0]] * len(kernel)}
    if kind == "max_pool":
        attributes["dilation"] = [1] * len(kernel)
    return _op(call, kind, [x], attributes=attributes)


def mean(call: Call) -> Op | list[Op]:
    a = call.bind("input", "dim", "keepdim", dim=None, keepdim=False)
    x, rank = a["input"], len(a["input"].shape)
    dims = a["dim"] if isinstance(a["dim"], (tuple, list)) else [a["dim"]]
    if None in dims or sorted(d % rank for d in dims) != list(range(2, rank)):
        raise call.refuse(
            f"takes the mean over dimensions {a['dim']}.", "All spatial ones, and no other, are supported."
        )
    pool = _even_pool(call, "avg_pool", x, (1,) * (rank - 2))
    if a["keepdim"]:
        return pool
    pool.name, pool.shape = f"{call.name}.pool", (x.shape[1], *(1,) * (rank - 2))
    flat = Op("flatten", call.name, call.where, [pool.name], (x.shape[1],), {"shape": [x.shape[1]]})
    return [pool, flat]


def reshape(call: Call) -> Op | Value:
    x = identity(call)
    out = tuple(call.result.shape)
    if out == x.shape:
        return x
    if len(x.shape) >= 2 and out == (x.shape[0], math.prod(x.shape[1:])):
        return _op(call, "flatten", [x], attributes={"shape": list(out[1:])})
    raise call.refuse(f"reshapes {x.shape} to {out}.", "Flattening to (N, features) is supported.")


def pad(call: Call) -> Op:
    """Zeros around a tensor; the convolution that reads it takes them over."""
    a = call.bind("input", "pad", "mode", "value", mode="constant", value=None)
    if isinstance(call.target, nn.Module):
        a |= {"input": identity(call), "pad": call.target.padding, "value": getattr(call.target, "value", 0)}
    if a["mode"] != "constant" or a["value"]:
        raise call.refuse(f"pads by '{a['mode']}', with {a['value']}.", "Zeros are supported.")
    pairs = [[low, high] for low, high in zip(a["pad"][::2], a["pad"][1::2], strict=True)][::-1]
    dims = len(a["input"].shape) - 2
    if len(pairs) > dims or min(map(min, pairs)) < 0:
        raise call.refuse(f"pads by {tuple(a['pad'])}.", "Spatial dimensions can be padded, and not cropped.")
    return _op(call, "pad", [a["input"]], attributes={"padding": [[0, 0]] * (dims - len(pairs)) + pairs})


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
    return _op(call, "select", values, attributes={"choice": f"{where}/branch"})


def interface(call: Call) -> Value:
    """x.contiguous(), x.to(...): nothing on integers."""
    return call.args[0]
