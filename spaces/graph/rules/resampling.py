"""Operators that change the size of maps: pools, means, upsampling."""

from collections.abc import Callable

from spaces.graph.op import Op
from spaces.graph.rules.common import Rules, each_dimension, made
from spaces.graph.trace import Call, Value


def _pool_padding(
    size: list[int], kernel: list[int], stride: list[int], padding: list[int], out: tuple[int, ...]
) -> list[list[int]]:
    """Padding on both sides. With ceil_mode there is more of it at the end."""
    ends = [max(p, (o - 1) * s + k - n - p) for n, k, s, p, o in zip(size, kernel, stride, padding, out, strict=True)]
    return [[p, e] for p, e in zip(padding, ends, strict=True)]


def pool(kind: str) -> Callable[[Call], Op]:
    def rule(call: Call) -> Op:
        given, x = call.given, call.input
        dims, out = len(x.shape) - 2, call.shape[2:]
        kernel = each_dimension(given["kernel_size"], dims)
        stride = each_dimension(given["stride"] or given["kernel_size"], dims)
        padding, dilation = each_dimension(given["padding"], dims), each_dimension(given.get("dilation", 1), dims)
        extents = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
        pads = _pool_padding(list(x.shape[2:]), extents, stride, padding, out)
        attributes = {"kernel": kernel, "stride": stride, "padding": pads, "dilation": dilation}
        if kind == "avg_pool":
            uneven = any(map(any, pads)) and (not given["count_include_pad"] or given["ceil_mode"])
            if uneven or given.get("divisor_override"):
                raise call.refuse(
                    "divides by a number that changes at the border.", "Use count_include_pad=True, ceil_mode=False."
                )
            del attributes["dilation"]
        return made(call, kind, [x], attributes=attributes)

    return rule


def adaptive(kind: str) -> Callable[[Call], Op]:
    def rule(call: Call) -> Op:
        size, out = call.input.shape[2:], call.shape[2:]
        if any(n % o for n, o in zip(size, out, strict=True)):
            raise call.refuse(f"pools {size} to {out}, in windows of different sizes.", "Choose a divisor of the size.")
        return _even_pool(call, kind, out)

    return rule


def _even_pool(call: Call, kind: str, out: tuple[int, ...]) -> Op:
    x = call.input
    kernel = [n // o for n, o in zip(x.shape[2:], out, strict=True)]
    attributes = {"kernel": kernel, "stride": kernel, "padding": [[0, 0]] * len(kernel)}
    if kind == "max_pool":
        attributes["dilation"] = [1] * len(kernel)
    return Op(kind, call.name, call.where, [x.name], (x.shape[1], *out), attributes)


def upsample(call: Call) -> Op | Value:
    """Nearest-neighbour upsampling by whole factors."""
    x, out = call.input, call.shape[2:]
    size = x.shape[2:]
    mode = call.operator.removeprefix("_").removeprefix("upsample_")
    if "nearest" not in mode or any(o % n for n, o in zip(size, out, strict=True)):
        raise call.refuse(
            f"resizes {tuple(size)} to {out} by '{mode}'.", "Nearest neighbour by whole factors is supported."
        )
    factor = [o // n for n, o in zip(size, out, strict=True)]
    return made(call, "upsample", [x], attributes={"factor": factor}) if max(factor) > 1 else x


def mean(call: Call) -> Op | list[Op]:
    x, dim = call.input, call.given.get("dim")
    rank = len(x.shape)
    dims = [int(d) % rank for d in dim or ()]
    if sorted(dims) != list(range(2, rank)):
        raise call.refuse(f"takes the mean over dimensions {dim}.", "All spatial ones, and no other, are supported.")
    pool = _even_pool(call, "avg_pool", (1,) * (rank - 2))
    if call.given["keepdim"]:
        return pool
    pool.name = f"{call.name}.pool"
    flat = Op("flatten", call.name, call.where, [pool.name], (x.shape[1],), {"shape": [x.shape[1]]})
    return [pool, flat]


DIMS = ("1d", "2d", "3d")

RULES: Rules = {
    **dict.fromkeys((f"max_pool{d}" for d in DIMS), pool("max_pool")),
    **dict.fromkeys((f"max_pool{d}_with_indices" for d in DIMS), pool("max_pool")),
    **dict.fromkeys((f"avg_pool{d}" for d in DIMS), pool("avg_pool")),
    **dict.fromkeys((f"adaptive_avg_pool{d}" for d in DIMS), adaptive("avg_pool")),
    **dict.fromkeys((f"adaptive_max_pool{d}" for d in DIMS), adaptive("max_pool")),
    **dict.fromkeys(
        (
            *(f"{exact}upsample_nearest{end}{d}" for exact, end in (("", ""), ("_", "_exact")) for d in DIMS),
            *("upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d", "upsample_bicubic2d"),
        ),
        upsample,
    ),
    "mean": mean,
}
