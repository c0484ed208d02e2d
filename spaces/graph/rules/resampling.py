"""Operators that change the size of maps: pools and resizing.

Whatever resizes each axis by fixed weights, resizing by interpolation, pools whose windows differ in size, borders of
zeros, is one operator, `resample`. Its weights are whole numbers over one denominator for each axis.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import lcm
from typing import Any

import torch
from torch import Tensor

from spaces.graph.op import Op
from spaces.graph.rules.common import Made, Rule, Rules, each_dimension, made, plain, refuse_joined
from spaces.graph.trace import Call
from spaces.graph.value import Value

PRECISION = {1: 1 << 10, 2: 1 << 10, 3: 1 << 7}  # by dimensions: the denominator where no smaller one is exact
EXACT = 1e-4  # of a weight, which was measured in float32


def _pool_padding(
    size: list[int], kernel: list[int], stride: list[int], padding: list[int], out: tuple[int, ...]
) -> list[list[int]]:
    """Padding on both sides. With ceil_mode there is more of it at the end."""
    ends = [max(p, (o - 1) * s + k - n - p) for n, k, s, p, o in zip(size, kernel, stride, padding, out, strict=True)]
    return [[p, e] for p, e in zip(padding, ends, strict=True)]


def pool(kind: str) -> Rule:
    def rule(call: Call) -> Made:
        given, x = call.given, call.input
        dims = int(call.operator.partition("d_")[0].rstrip("d")[-1])
        more = x.rank - 1 - dims  # what the batch was joined with: windows of an image, say
        order = (more, *range(more), *range(more + 1, x.rank))
        x = plain(call, x) if not more else call.forms.stored(x, order)
        size, out = x.seen.stored[1:], tuple(call.shape[1 + axis] for axis in order[1:])
        kernel = _of_all(given["kernel_size"], dims, more, 1)
        stride = _of_all(given["stride"] or given["kernel_size"], dims, more, 1)
        padding, dilation = _of_all(given["padding"], dims, more, 0), _of_all(given.get("dilation", 1), dims, more, 1)
        extents = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
        pads = _pool_padding(list(size), extents, stride, padding, out)
        attributes = {"kernel": kernel, "stride": stride, "padding": pads, "dilation": dilation}
        if kind == "avg_pool":
            if given.get("divisor_override"):
                raise call.refuse("divides by a number of its own.", "Multiply behind it instead.")
            if any(map(any, pads)) and (not given["count_include_pad"] or given["ceil_mode"]):
                each = zip(size, kernel, stride, padding, out, strict=True)
                return resample(call, x, [_means(*one, given["count_include_pad"]) for one in each], order)
            del attributes["dilation"]
        return made(call, kind, [x], order, attributes=attributes)

    return rule


def _of_all(value: Any, dims: int, more: int, usual: int) -> list[int]:
    """A number for each axis behind the channels, those of the pool and `more` before them."""
    return [usual] * more + each_dimension(value, dims)


def _means(size: int, kernel: int, stride: int, padding: int, out: int, with_padding: bool) -> list[list[Fraction]]:
    """(out, size), what each place of a pool takes of each element along an axis. Windows differ at the border."""
    rows = []
    for place in range(out):
        first = place * stride - padding
        last = min(first + kernel, size + padding)
        inside = range(max(first, 0), min(last, size))
        count = last - first if with_padding else len(inside)
        rows.append([Fraction(1, count) if element in inside else Fraction(0) for element in range(size)])
    return rows


def adaptive(kind: str) -> Rule:
    def rule(call: Call) -> Made:
        x, out = plain(call, call.input), call.shape[2:]
        size = x.shape[2:]
        if not any(n % o for n, o in zip(size, out, strict=True)):
            return even_pool(call, kind, x, out)
        if kind == "max_pool":
            raise call.refuse(f"pools {size} to {out}, in windows of different sizes.", "Choose a divisor of the size.")
        rows = []
        for n, o in zip(size, out, strict=True):
            spans = [range(i * n // o, -(-(i + 1) * n // o)) for i in range(o)]
            rows.append([[Fraction(int(e in span), len(span)) for e in range(n)] for span in spans])
        return resample(call, x, rows)

    return rule


def even_pool(call: Call, kind: str, x: Value, out: Sequence[int]) -> Op:
    """A pool of equal windows that lie side by side."""
    kernel = [n // o for n, o in zip(x.shape[2:], out, strict=True)]
    attributes = {"kernel": kernel, "stride": kernel, "padding": [[0, 0]] * len(kernel)}
    if kind == "max_pool":
        attributes["dilation"] = [1] * len(kernel)
    return Op(kind, call.name, call.where, [x.name], (x.shape[1], *out), attributes)


def nearest(call: Call) -> Value:
    """Each place has the element that torch takes for it."""
    places = _measured(call, lambda size: torch.arange(size, dtype=torch.float32).view(1, 1, size))
    taken = {axis: each.flatten().long().tolist() for axis, each in enumerate(places, 1)}
    return call.forms.taken(plain(call, call.input), taken, call.name)


def interpolated(call: Call) -> Op:
    """Linear, cubic: the weights are measured off the operator itself, whose axes are independent of each other."""
    x = plain(call, call.input)
    each = _measured(call, lambda size: torch.eye(size).view(1, size, size))
    rows = [matrix[0].T for matrix in each]
    return resample(call, x, [_fractions(matrix, PRECISION[len(rows)]) for matrix in rows])


def _measured(call: Call, along: Callable[[int], Tensor]) -> list[Tensor]:
    """What the operator makes of tensors that vary along one spatial axis alone, for each axis.

    Args:
        along: size -> (1, C, size).

    Returns:
        (1, C, size of the result) for each spatial axis.
    """
    refuse_joined(call)
    size, found = call.input.shape[2:], []
    for axis in range(len(size)):
        line = along(size[axis])
        shape = [1] * len(size)
        shape[axis] = size[axis]
        x = line.reshape(1, line.shape[1], *shape).expand(1, line.shape[1], *size).contiguous()
        y = call.function(x, *list(call.given.values())[1:])
        for other in range(len(size)):
            y = y if other == axis else y.narrow(2 + other, 0, 1)
        found.append(y.reshape(1, line.shape[1], -1))
    return found


def _fractions(matrix: Tensor, most: int) -> list[list[Fraction]]:
    """The weights over the least denominator that holds them, or over `most`. Sums of rows stay as they are."""
    wanted = matrix.double()
    for denominator in range(1, most + 1):
        scaled = wanted * denominator
        if (scaled - scaled.round()).abs().max() < EXACT * denominator / 8:
            break
    scaled = wanted * denominator
    whole = scaled.round().long()
    missing = (wanted.sum(1) * denominator).round().long() - whole.sum(1)
    for row, lost, count in zip(whole, scaled - scaled.round(), missing.tolist(), strict=True):
        row[(lost if count > 0 else -lost).argsort(descending=True)[: abs(count)]] += 1 if count > 0 else -1
    return [[Fraction(int(w), denominator) for w in row] for row in whole]


def resample(call: Call, x: Value, rows: list[list[list[Fraction]]], order: Sequence[int] | None = None) -> Op:
    """Each spatial axis of a stored tensor, resized by weights: (out, in) for each."""
    return made(call, "resample", [x], order, attributes=weights_of(rows))


def weights_of(rows: list[list[list[Fraction]]]) -> dict[str, Any]:
    """The attributes of `resample`: for each axis a denominator, and for each place its first element and weights."""
    divisors: list[int] = []
    starts: list[list[int]] = []
    weights: list[list[list[int]]] = []
    for axis in rows:
        divisor = lcm(*(w.denominator for row in axis for w in row))
        there = [[i for i, w in enumerate(row) if w] or [0] for row in axis]
        divisors.append(divisor)
        starts.append([each[0] for each in there])
        weights.append(
            [[int(w * divisor) for w in row[each[0] : each[-1] + 1]] for row, each in zip(axis, there, strict=True)]
        )
    return {"divisors": divisors, "starts": starts, "weights": weights}


DIMS = ("1d", "2d", "3d")

RULES: Rules = {
    **dict.fromkeys((f"max_pool{d}" for d in DIMS), pool("max_pool")),
    **dict.fromkeys((f"max_pool{d}_with_indices" for d in DIMS), pool("max_pool")),
    **dict.fromkeys((f"avg_pool{d}" for d in DIMS), pool("avg_pool")),
    **dict.fromkeys((f"adaptive_avg_pool{d}" for d in DIMS), adaptive("avg_pool")),
    **dict.fromkeys(("_adaptive_avg_pool2d", "_adaptive_avg_pool3d"), adaptive("avg_pool")),
    **dict.fromkeys((f"adaptive_max_pool{d}" for d in DIMS), adaptive("max_pool")),
    **dict.fromkeys(
        (f"{exact}upsample_nearest{end}{d}" for exact, end in (("", ""), ("_", "_exact")) for d in DIMS), nearest
    ),
    **dict.fromkeys(
        (
            *("upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d", "upsample_bicubic2d"),
            *("_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa"),
        ),
        interpolated,
    ),
}
