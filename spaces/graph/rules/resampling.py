"""Operators that change the size of maps: pools, means, upsampling."""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from spaces.graph.op import Op
from spaces.graph.rules.common import Rules, each_dimension, identity, made
from spaces.graph.trace import Call, Value


def _pool_padding(
    size: list[int], kernel: list[int], stride: list[int], padding: list[int], out: tuple[int, ...]
) -> list[list[int]]:
    """Padding on both sides. With ceil_mode there is more of it at the end."""
    ends = [max(p, (o - 1) * s + k - n - p) for n, k, s, p, o in zip(size, kernel, stride, padding, out, strict=True)]
    return [[p, e] for p, e in zip(padding, ends, strict=True)]


def pool(kind: str, dims: int) -> Callable[[Call], Op]:
    names: tuple[str, ...] = ("input", "kernel_size", "stride", "padding")
    names += ("dilation", "ceil_mode") if kind == "max_pool" else ("ceil_mode", "count_include_pad", "divisor_override")
    defaults = {"stride": None, "padding": 0, "dilation": 1, "ceil_mode": False}
    defaults |= {"count_include_pad": True, "divisor_override": None, "return_indices": False}

    def rule(call: Call) -> Op:
        a = call.bind(*names, **defaults)
        if isinstance(call.target, nn.Module):
            a |= {k: getattr(call.target, k) for k in (*names[1:], "return_indices") if hasattr(call.target, k)}
            a["input"] = call.args[0]
        kernel = each_dimension(a["kernel_size"], dims)
        stride = each_dimension(a["stride"] or a["kernel_size"], dims)
        padding, dilation = each_dimension(a["padding"], dims), each_dimension(a["dilation"], dims)
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
        return made(call, kind, [x], attributes=attributes)

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
    return made(call, kind, [x], attributes=attributes)


def upsample(call: Call) -> Op | Value:
    """Nearest-neighbour upsampling by whole factors."""
    names = ("input", "size", "scale_factor", "mode", "align_corners", "recompute_scale_factor", "antialias")
    a = call.bind(*names, mode="nearest")
    if isinstance(call.target, nn.Module):
        a |= {"input": identity(call), "mode": call.target.mode}
    size, out = a["input"].shape[2:], tuple(call.result.shape[2:])
    whole = not any(o % n for n, o in zip(size, out, strict=True))
    if not a["mode"].startswith("nearest") or not whole:
        raise call.refuse(
            f"resizes {tuple(size)} to {out} by '{a['mode']}'.", "Nearest neighbour by whole factors is supported."
        )
    factor = [o // n for n, o in zip(size, out, strict=True)]
    return made(call, "upsample", [a["input"]], attributes={"factor": factor}) if max(factor) > 1 else a["input"]


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


RULES: Rules = {
    **dict.fromkeys((nn.MaxPool1d, F.max_pool1d), pool("max_pool", 1)),
    **dict.fromkeys((nn.MaxPool2d, F.max_pool2d), pool("max_pool", 2)),
    **dict.fromkeys((nn.MaxPool3d, F.max_pool3d), pool("max_pool", 3)),
    **dict.fromkeys((nn.AvgPool1d, F.avg_pool1d), pool("avg_pool", 1)),
    **dict.fromkeys((nn.AvgPool2d, F.avg_pool2d), pool("avg_pool", 2)),
    **dict.fromkeys((nn.AvgPool3d, F.avg_pool3d), pool("avg_pool", 3)),
    **dict.fromkeys((nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d), adaptive("avg_pool")),
    **dict.fromkeys((F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d), adaptive("avg_pool")),
    **dict.fromkeys((nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d), adaptive("max_pool")),
    **dict.fromkeys((F.adaptive_max_pool1d, F.adaptive_max_pool2d, F.adaptive_max_pool3d), adaptive("max_pool")),
    **dict.fromkeys((nn.Upsample, nn.UpsamplingNearest2d, F.interpolate), upsample),
    **dict.fromkeys((torch.mean, "mean"), mean),
}
