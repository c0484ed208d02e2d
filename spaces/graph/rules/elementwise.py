"""Activations, and arithmetic of two tensors or of a tensor and a number."""

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spaces.graph.op import Op
from spaces.graph.rules.common import Rules, identity, made
from spaces.graph.trace import Call, Value


def activation(name: str, **fields: Any) -> Callable[[Call], Op]:
    """A rule for an activation. `fields` are its arguments and their defaults."""

    def rule(call: Call) -> Op:
        if isinstance(call.target, nn.Module):
            arguments = {k: getattr(call.target, k) for k in fields}
        else:
            bound = call.bind("input", *fields, **fields)
            arguments = {k: bound[k] for k in fields}
        return made(call, "activation", [identity(call)], activation=(name, arguments))

    return rule


def _scaled(factor: Callable[[float], float], offset: Callable[[float], float]) -> Callable[[Call, Value, float], Op]:
    def rule(call: Call, x: Value, number: float) -> Op:
        arguments = {"factor": float(factor(number)), "offset": float(offset(number))}
        return made(call, "activation", [x], activation=("scale", arguments))

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
    return made(call, kind, [a, b])


RULES: Rules = {
    **dict.fromkeys((nn.ReLU, F.relu, torch.relu, torch.relu_, "relu", "relu_"), activation("relu")),
    **dict.fromkeys((nn.ReLU6, F.relu6), activation("relu6")),
    **dict.fromkeys((nn.Hardtanh, F.hardtanh), activation("hardtanh", min_val=-1.0, max_val=1.0)),
    **dict.fromkeys((nn.Hardswish, F.hardswish), activation("hardswish")),
    **dict.fromkeys((nn.Hardsigmoid, F.hardsigmoid), activation("hardsigmoid")),
    **dict.fromkeys((nn.Sigmoid, F.sigmoid, torch.sigmoid, "sigmoid"), activation("sigmoid")),
    **dict.fromkeys((nn.Tanh, F.tanh, torch.tanh, "tanh"), activation("tanh")),
    **dict.fromkeys((nn.SiLU, F.silu), activation("silu")),
    **dict.fromkeys((nn.GELU, F.gelu), activation("gelu", approximate="none")),
    **dict.fromkeys((nn.Mish, F.mish), activation("mish")),
    **dict.fromkeys((nn.ELU, F.elu), activation("elu", alpha=1.0)),
    nn.SELU: activation("selu"),
    nn.CELU: activation("celu", alpha=1.0),
    **dict.fromkeys((nn.Softplus, F.softplus), activation("softplus", beta=1.0, threshold=20.0)),
    nn.Softsign: activation("softsign"),
    **dict.fromkeys((nn.LeakyReLU, F.leaky_relu), activation("leaky_relu", negative_slope=0.01)),
    **dict.fromkeys((torch.add, operator.add, operator.iadd, "add", "add_"), arithmetic("add")),
    **dict.fromkeys((torch.sub, operator.sub, "sub"), arithmetic("sub")),
    **dict.fromkeys((torch.mul, operator.mul, operator.imul, "mul", "mul_"), arithmetic("mul")),
    **dict.fromkeys((torch.div, operator.truediv, "div"), arithmetic("div")),
}
