"""Activations, and arithmetic of two tensors or of a tensor and a number."""

from collections.abc import Callable
from dataclasses import replace
from math import prod
from typing import Any

import torch
from torch import Tensor

from spaces.graph.op import ACTIVATION, NORM, NormNumbers, Op
from spaces.graph.rules.common import (
    Made,
    Rule,
    Rules,
    added,
    channels_first,
    for_each_sample,
    made,
    pointwise,
    stored_constant,
)
from spaces.graph.trace import Call
from spaces.graph.value import Value

FAR = 3.4e38  # no float32 is far beyond it
FOLDED = "its learned number is taken as it is, and no longer trained"


def activation(name: str, **arguments: str) -> Callable[[Call], Op]:
    """A rule for an activation. Args: arguments: those of ours -> how ATen names them."""

    def rule(call: Call) -> Op:
        values = {ours: call.given[theirs] for ours, theirs in arguments.items()}
        return _activation(call, name, **values)

    return rule


def _activation(call: Call, name: str, **arguments: Any) -> Op:
    return pointwise(call, ACTIVATION, call.input, activation=(name, arguments))


def elu(call: Call) -> Op:
    """ELU, and what torch writes with it: SELU and CELU."""
    alpha, scale, slope = (float(call.given[name]) for name in ("alpha", "scale", "input_scale"))
    if scale != 1 or slope != 1:
        raise call.refuse(f"is an ELU with scale {scale} and input_scale {slope}.", "Take nn.SELU or nn.CELU.")
    return _activation(call, "elu", alpha=alpha)


def clamp(call: Call) -> Op | Value:
    low, high = (_number(call.given.get(end)) for end in ("min", "max"))
    if isinstance(low, Value | Tensor) or isinstance(high, Value | Tensor):
        raise call.refuse("clamps by a tensor.", "Clamp by numbers.")
    if low is None and high is None:
        return call.input
    if low == 0 and high is None:
        return _activation(call, "relu")
    if low == 0 and high == 6:
        return _activation(call, "relu6")
    ends = -FAR if low is None else float(low), FAR if high is None else float(high)
    return _activation(call, "hardtanh", min_val=max(-FAR, ends[0]), max_val=min(FAR, ends[1]))


def _number(value: Any) -> Any:
    """A tensor of one number as the number."""
    return value.item() if isinstance(value, Tensor) and value.numel() == 1 else value


def hardtanh(call: Call) -> Op:
    low, high = float(call.given["min_val"]), float(call.given["max_val"])
    own = ("relu6", {}) if (low, high) == (0, 6) else ("hardtanh", {"min_val": low, "max_val": high})
    return _activation(call, own[0], **own[1])


def arithmetic(kind: str) -> Rule:
    """add, sub, mul, div of two tensors, or of a tensor and a number."""

    def rule(call: Call) -> Made:
        a, b = call.given["self"], call.given["other"]
        alpha = call.given.get("alpha", 1)
        if call.given.get("rounding_mode") is not None:
            raise call.refuse("rounds a quotient.", "Divide without rounding_mode.")
        if isinstance(a, Value) and isinstance(b, Value):
            return two_tensors(call, kind, a, b, alpha)
        x, constant = (a, b) if isinstance(a, Value) else (b, a)
        number = _constant(call, x, constant)
        if number is None:
            return _with_constant(call, kind, x, constant, alpha)
        if kind == "mul":
            return _scaled(call, x, number, 0.0, call.owned.get(id(constant)))
        if kind == "div":
            if isinstance(b, Value):
                one = added(call, _reciprocal(call, b), b.shape)
                return _scaled(call, one, number, 0.0)
            if not isinstance(number, Tensor) and number == 0:
                raise call.refuse("divides by 0.", "Divide by another number.")
            return _scaled(call, x, 1 / number, 0.0)
        factors = {"add": (1.0, alpha), "sub": (1.0, -alpha), "rsub": (-alpha, 1.0)}[kind]  # of a and of b
        of_x, of_number = factors if isinstance(a, Value) else factors[::-1]
        owner = call.owned.get(id(constant)) if (kind, alpha) == ("add", 1) else None
        return _scaled(call, x, of_x, of_number * number, owner)

    return rule


def power(call: Call) -> Op:
    exponent = _number(call.given["exponent"])
    if not isinstance(exponent, int | float) or not isinstance(call.input, Value):
        raise call.refuse("takes a power whose exponent is a tensor.", "Give the exponent as a number.")
    return _activation(call, "square") if exponent == 2 else _activation(call, "power", exponent=float(exponent))


def constant(call: Call) -> Op:
    """A number in all places."""
    value = _number(call.given["value"])
    if not isinstance(value, int | float):
        raise call.refuse("fills a tensor with what is computed from the data.", "Use expand.")
    return _activation(call, "scale", factor=0.0, offset=float(value))


def compared(name: str) -> Rule:
    """1 where it holds, and 0 elsewhere."""

    def rule(call: Call) -> Made:
        other = _number(call.given["other"])
        if not isinstance(other, int | float) or not isinstance(call.given["self"], Value):
            raise call.refuse("compares two tensors.", "Compare their difference with 0.")
        return _activation(call, name, other=float(other))

    return rule


def chosen(call: Call) -> Made:
    """where(condition, a, b) = condition * a + (1 - condition) * b"""
    condition, a, b = (call.given[name] for name in ("condition", "self", "other"))
    return _chosen(call, condition, a, b)


def filled(call: Call) -> Made:
    """A number in the places of a mask."""
    return _chosen(call, call.given["mask"], call.given["value"], call.given["self"])


def _chosen(call: Call, condition: Any, a: Any, b: Any) -> Made:
    wanted = _times(call, f"{call.name}.first", condition, a)
    other: Any
    if isinstance(condition, Tensor):
        other = 1 - condition.float()
    else:
        flipped = ("scale", {"factor": -1.0, "offset": 1.0})
        op = pointwise(call, ACTIVATION, condition, f"{call.name}.not", activation=flipped)
        other = added(call, op, condition.shape)
    rest = _times(call, f"{call.name}.second", other, b)
    return arithmetic("add")(replace(call, given={"self": wanted, "other": rest, "alpha": 1}))


def _times(call: Call, name: str, mask: Any, value: Any) -> Any:
    """The product of a mask and a value, each a tensor of the network or a constant."""
    constant = [
        x if isinstance(x, Tensor) else torch.tensor(float(x)) for x in (mask, value) if not isinstance(x, Value)
    ]
    if len(constant) == 2:  # not a product: 0 times infinity would be NaN
        return torch.where(constant[0] != 0, constant[1], torch.zeros(()))
    given = {"self": mask, "other": value if isinstance(value, Value | Tensor) else float(value)}
    if isinstance(mask, Tensor):
        given = {"self": value, "other": mask.float()}
    result = torch.zeros(torch.broadcast_shapes(*(x.shape for x in given.values() if not isinstance(x, float))))
    made = arithmetic("mul")(replace(call, name=name, given=given, result=result))
    ops = made if isinstance(made, list) else [made]
    for op in ops:
        assert isinstance(op, Op)  # as of every product
        found = added(call, op, result.shape)
    return found


def added_products(kind: str) -> Rule:
    """self + value * tensor1 * tensor2, or the quotient of these."""

    def rule(call: Call) -> Made:
        given = call.given
        first, second, whole = given["tensor1"], given["tensor2"], given["self"]
        if not isinstance(first, Value) or not isinstance(second, Value):
            pair = f"{call.name}.{kind}"
            made = _times(
                call, pair, *(x if isinstance(x, Value) else _as_factor(call, kind, x) for x in (first, second))
            )
        else:
            made = combined(call, f"{call.name}.{kind}", kind, first, second)
        return arithmetic("add")(replace(call, given={"self": whole, "other": made, "alpha": given["value"]}))

    return rule


def _as_factor(call: Call, kind: str, x: Any) -> Any:
    if kind == "div":
        raise call.refuse("adds a quotient with a constant.", "Write it by + and /.")
    return x


def negated(call: Call) -> Op:
    return _scaled(call, call.input, -1.0, 0.0)


def prelu(call: Call) -> Op | list[Op]:
    """max(x, 0) + slope * min(x, 0), with a slope for all, which is taken as it is, or one a channel, which learns."""
    slope = call.given["weight"]
    if not isinstance(slope, Tensor):
        raise call.refuse("has a slope that is computed from the data.", "Make it a parameter of the module.")
    x = call.input
    if slope.numel() == 1:
        arguments = {"negative_slope": float(slope.item())}
        return pointwise(call, ACTIVATION, x, activation=("leaky_relu", arguments), note=FOLDED if call.learns else "")
    x = channels_first(call, x)
    below, scaled = f"{call.name}.below", f"{call.name}.slope"
    ops = [pointwise(call, ACTIVATION, x, f"{call.name}.above", activation=("relu", {}))]
    low = ("hardtanh", {"min_val": -FAR, "max_val": 0.0})
    ops.append(pointwise(call, ACTIVATION, x, below, activation=low))
    numbers = NormNumbers.affine(slope, torch.zeros(len(slope)), ("bias",) if call.learns else ("weight", "bias"))
    norm = f"{call.owned[id(slope)].removesuffix('.weight')}.slope" if id(slope) in call.owned else scaled
    ops.append(Op(NORM, scaled, call.where, [below], ops[0].shape, view=x.view, norm=norm, norm_numbers=numbers))
    return [*ops, Op("add", call.name, call.where, [ops[0].name, scaled], ops[0].shape, view=x.view)]


def _scaled(call: Call, x: Value, factor: float | Tensor, offset: float | Tensor, owner: str | None = None) -> Op:
    """factor * x + offset: a function of the codes, or with a number for each channel a norm that measures nothing.

    Args:
        owner: the parameter that the factor or the offset is. One that is read again is one parameter.
    """
    if not isinstance(factor, Tensor) and not isinstance(offset, Tensor):
        arguments = {"factor": float(factor), "offset": float(offset)}
        return pointwise(call, ACTIVATION, x, activation=("scale", arguments), note=FOLDED if call.learns else "")
    x = call.forms.stored(x)
    each = {"weight": factor, "bias": offset}
    constant = tuple(n for n, value in each.items() if not isinstance(value, Tensor) or not call.learns)
    channels = x.seen.stored[0]
    weight, bias = (torch.as_tensor(value, dtype=torch.float32).expand(channels) for value in each.values())
    name = call.name if owner is None else f"{owner}.{'scale' if isinstance(factor, Tensor) else 'offset'}"
    return pointwise(call, NORM, x, norm=name, norm_numbers=NormNumbers.affine(weight, bias, constant))


def _constant(call: Call, x: Value, constant: Any) -> float | Tensor | None:
    """A number, or one for each channel, (C,); None where it varies along other axes."""
    if not isinstance(constant, Tensor):
        return float(constant)
    if constant.numel() == 1:
        return float(constant.item())
    value = for_each_sample(call, constant, max(x.rank, constant.dim() - 1), x.batch)
    if value.dim() != x.rank:
        return None
    channels = x.seen.order[0]
    own = tuple(size if axis == channels else 1 for axis, size in enumerate(x.own))
    return value.flatten() if tuple(value.shape) == own else None


def _with_constant(call: Call, kind: str, x: Value, constant: Tensor, alpha: float) -> Made:
    """Arithmetic with a constant that is a tensor of its own."""
    value = for_each_sample(call, constant, max(x.rank, constant.dim() - 1), x.batch)
    x_first = isinstance(call.given["self"], Value)
    if kind == "div":
        if not x_first:
            x, x_first = added(call, _reciprocal(call, x), x.shape), True
        else:
            value = 1 / value
        kind = "mul"
    order = x.seen.order if x.rank == value.dim() else range(value.dim())
    source = constant if value.data_ptr() == constant.data_ptr() else None  # not its reciprocal
    stored = stored_constant(call, value, order, f"{call.name}.constant", x.batch, source)
    return two_tensors(call, kind, x, stored, alpha) if x_first else two_tensors(call, kind, stored, x, alpha)


def _reciprocal(call: Call, x: Value) -> Op:
    return pointwise(call, ACTIVATION, x, f"{call.name}.reciprocal", activation=("reciprocal", {}))


def two_tensors(call: Call, kind: str, a: Value, b: Value, alpha: float) -> list[Op]:
    """Arithmetic of two tensors, one of which may be spread over axes of the other."""
    if kind == "rsub":
        return two_tensors(call, "sub", b, a, alpha)
    if a.batch != b.batch or a.rank != b.rank:
        raise call.refuse(f"combines shapes {a.shape} and {b.shape}.", "Give both the same number of dimensions.")
    order = max((a, b), key=lambda x: prod(x.shape)).seen.order
    a, b = call.forms.stored(a, order), call.forms.stored(b, order)
    whole = made(call, kind, [a, b], order, a.batch)
    if alpha == 1:
        return [whole]
    scaled = pointwise(
        call, ACTIVATION, b, f"{call.name}.scaled", activation=("scale", {"factor": float(alpha), "offset": 0.0})
    )
    whole.inputs[1] = scaled.name
    return [scaled, whole]


def combined(call: Call, name: str, kind: str, a: Value, b: Value) -> Value:
    """The result of such arithmetic, where it is a part of a call."""
    shape = torch.broadcast_shapes(a.shape, b.shape)
    (op,) = two_tensors(replace(call, name=name, result=torch.zeros(shape)), kind, a, b, 1)
    return added(call, op, shape)


RULES: Rules = {
    **{
        name: activation(name)
        for name in ("relu", "relu6", "hardswish", "hardsigmoid", "sigmoid", "tanh", "silu", "mish", "selu", "square")
    },
    **{name: activation(name) for name in ("exp", "log", "sqrt", "rsqrt", "reciprocal", "erf", "sin", "cos", "expm1")},
    "log_sigmoid": activation("log_sigmoid"),
    "hardshrink": activation("hardshrink", lambd="lambd"),
    "softshrink": activation("softshrink", lambd="lambd"),
    "threshold": activation("threshold", threshold="threshold", value="value"),
    "prelu": prelu,
    "hardtanh": hardtanh,
    "gelu": activation("gelu", approximate="approximate"),
    "elu": elu,
    "celu": activation("celu", alpha="alpha"),
    "softplus": activation("softplus", beta="beta", threshold="threshold"),
    "leaky_relu": activation("leaky_relu", negative_slope="negative_slope"),
    **dict.fromkeys(("clamp", "clamp_min", "clamp_max", "clip"), clamp),
    "neg": negated,
    "addcmul": added_products("mul"),
    "addcdiv": added_products("div"),
    **{name: compared(name) for name in ("le", "lt", "ge", "gt")},
    "fill": constant,
    "where": chosen,
    "masked_fill": filled,
    "pow": power,
    **dict.fromkeys(("abs", "absolute"), activation("abs")),
    **{kind: arithmetic(kind) for kind in ("add", "sub", "rsub", "mul", "div")},
    "multiply": arithmetic("mul"),
    "subtract": arithmetic("sub"),
    "divide": arithmetic("div"),
    "true_divide": arithmetic("div"),
}
