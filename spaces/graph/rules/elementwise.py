"""Activations, and arithmetic of two tensors or of a tensor and a number."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from spaces.graph.op import ACTIVATION, NORM, NormNumbers, Op
from spaces.graph.rules.common import Rules, made
from spaces.graph.trace import Call, Value

FOLDED = "its learned number is taken as it is, and no longer trained"


def activation(name: str, **arguments: str) -> Callable[[Call], Op]:
    """A rule for an activation. Args: arguments: those of ours -> how ATen names them."""

    def rule(call: Call) -> Op:
        values = {ours: call.given[theirs] for ours, theirs in arguments.items()}
        return _activation(call, name, **values)

    return rule


def _activation(call: Call, name: str, **arguments: Any) -> Op:
    return made(call, "activation", [call.input], activation=(name, arguments))


def elu(call: Call) -> Op:
    """ELU, and what torch writes with it: SELU and CELU."""
    alpha, scale, slope = (float(call.given[name]) for name in ("alpha", "scale", "input_scale"))
    if scale != 1 or slope != 1:
        raise call.refuse(f"is an ELU with scale {scale} and input_scale {slope}.", "Take nn.SELU or nn.CELU.")
    return _activation(call, "elu", alpha=alpha)


def clamp(call: Call) -> Op:
    low, high = call.given.get("min"), call.given.get("max")
    if isinstance(low, Value | Tensor) or isinstance(high, Value | Tensor):
        raise call.refuse("clamps by a tensor.", "Clamp by numbers.")
    if low == 0 and high is None:
        return _activation(call, "relu")
    if low == 0 and high == 6:
        return _activation(call, "relu6")
    if low is None or high is None:
        raise call.refuse(f"clamps to {low} .. {high}.", "Give both ends, or clamp at 0 from below.")
    return _activation(call, "hardtanh", min_val=float(low), max_val=float(high))


def hardtanh(call: Call) -> Op:
    low, high = float(call.given["min_val"]), float(call.given["max_val"])
    return (
        _activation(call, "relu6")
        if (low, high) == (0, 6)
        else _activation(call, "hardtanh", min_val=low, max_val=high)
    )


def arithmetic(kind: str) -> Callable[[Call], Op | list[Op]]:
    """add, sub, mul, div of two tensors, or of a tensor and a number."""

    def rule(call: Call) -> Op | list[Op]:
        a, b = call.given["self"], call.given["other"]
        alpha = call.given.get("alpha", 1)
        if call.given.get("rounding_mode") is not None:
            raise call.refuse("rounds a quotient.", "Divide without rounding_mode.")
        if isinstance(a, Value) and isinstance(b, Value):
            return _two_tensors(call, kind, a, b, alpha)
        x, constant = (a, b) if isinstance(a, Value) else (b, a)
        number = _constant(call, kind, x, constant)
        if kind == "mul":
            return _scaled(call, x, number, 0.0)
        if kind == "div":
            if isinstance(b, Value):
                raise call.refuse("divides a number by a tensor.", "Multiply by a learned scale instead.")
            if not isinstance(number, Tensor) and number == 0:
                raise call.refuse("divides by 0.", "Divide by another number.")
            return _scaled(call, x, 1 / number, 0.0)
        factors = {"add": (1.0, alpha), "sub": (1.0, -alpha), "rsub": (-alpha, 1.0)}[kind]  # of a and of b
        of_x, of_number = factors if isinstance(a, Value) else factors[::-1]
        return _scaled(call, x, of_x, of_number * number)

    return rule


def power(call: Call) -> Op:
    exponent = call.given["exponent"]
    if exponent != 2 or not isinstance(call.input, Value):
        raise call.refuse(f"takes the power {exponent}.", "Squares are supported; write others as products.")
    return _activation(call, "square")


def negated(call: Call) -> Op:
    return _scaled(call, call.input, -1.0, 0.0)


def _scaled(call: Call, x: Value, factor: float | Tensor, offset: float | Tensor) -> Op:
    """factor * x + offset: a function of the codes, or with a number for each channel a norm that measures nothing."""
    if not isinstance(factor, Tensor) and not isinstance(offset, Tensor):
        arguments = {"factor": float(factor), "offset": float(offset)}
        return made(call, ACTIVATION, [x], activation=("scale", arguments), note=FOLDED if call.learns else "")
    each = {"weight": factor, "bias": offset}
    constant = tuple(n for n, value in each.items() if not isinstance(value, Tensor) or not call.learns)
    weight, bias = (torch.as_tensor(value, dtype=torch.float32).expand(x.shape[1]) for value in each.values())
    return made(call, NORM, [x], norm=call.name, norm_numbers=NormNumbers.affine(weight, bias, constant))


def _constant(call: Call, kind: str, x: Value, constant: Any) -> float | Tensor:
    """A number, or one for each channel, (C,)."""
    if not isinstance(constant, Tensor):
        return float(constant)
    if constant.numel() == 1:
        return float(constant.item())
    shape = (1,) * (len(x.shape) - constant.dim()) + tuple(constant.shape)
    if len(shape) != len(x.shape) or shape != (1, x.shape[1], *(1,) * (len(x.shape) - 2)):
        raise call.refuse(
            f"does '{kind}' with a constant of shape {tuple(constant.shape)}.",
            "A number, or one for each channel, is supported.",
        )
    return constant.detach().flatten()


def _two_tensors(call: Call, kind: str, a: Value, b: Value, alpha: float) -> list[Op]:
    if kind == "rsub":
        return _two_tensors(call, "sub", b, a, alpha)
    if len(a.shape) != len(b.shape) or a.shape[0] != b.shape[0]:
        raise call.refuse(f"combines shapes {a.shape} and {b.shape}.", "Give both the same number of dimensions.")
    if kind in ("add", "sub") and a.shape != b.shape and a.shape[1] != b.shape[1]:
        raise call.refuse(f"adds shapes {a.shape} and {b.shape}.", "Channels must be equal.")
    refusal = None
    if kind == "div":
        way_out = "Quotients of two functions of one tensor are supported, and sums, differences and products of any."
        refusal = call.refuse("divides a tensor by another one.", way_out)
    whole = made(call, kind, [a, b], refusal=refusal)
    if alpha == 1:
        return [whole]
    scaled = Op(ACTIVATION, f"{call.name}.scaled", call.where, [b.name], tuple(b.shape[1:]))
    scaled.activation = ("scale", {"factor": float(alpha), "offset": 0.0})
    whole.inputs[1] = scaled.name
    return [scaled, whole]


RULES: Rules = {
    **{
        name: activation(name)
        for name in ("relu", "relu6", "hardswish", "hardsigmoid", "sigmoid", "tanh", "silu", "mish", "selu", "square")
    },
    "hardtanh": hardtanh,
    "gelu": activation("gelu", approximate="approximate"),
    "elu": elu,
    "celu": activation("celu", alpha="alpha"),
    "softplus": activation("softplus", beta="beta", threshold="threshold"),
    "leaky_relu": activation("leaky_relu", negative_slope="negative_slope"),
    **dict.fromkeys(("clamp", "clamp_min", "clamp_max", "clip"), clamp),
    "neg": negated,
    "pow": power,
    **dict.fromkeys(("abs", "absolute"), activation("abs")),
    **{kind: arithmetic(kind) for kind in ("add", "sub", "rsub", "mul", "div")},
    "multiply": arithmetic("mul"),
    "subtract": arithmetic("sub"),
    "divide": arithmetic("div"),
    "true_divide": arithmetic("div"),
}
