"""Calls that give a tensor another shape, or another order of its axes. Mostly nothing moves."""

from collections.abc import Sequence
from dataclasses import replace

from spaces.graph.rules.common import Rules, labelled, plain, refuse_joined, reshaped
from spaces.graph.trace import Call
from spaces.graph.value import Value


def reshape(call: Call) -> Value:
    return call.forms.reshaped(labelled(call, call.input), call.shape)


def permute(call: Call) -> Value:
    return _permuted(call, [int(d) for d in call.given["dims"]])


def transpose(call: Call) -> Value:
    dims = list(range(len(call.input.shape)))
    names = ("dim0", "dim1") if "dim0" in call.given else ("axis0", "axis1")
    first, second = (int(call.given[name]) % len(dims) for name in names)
    dims[first], dims[second] = dims[second], dims[first]
    return _permuted(call, dims)


def turned(call: Call) -> Value:
    return _permuted(call, range(len(call.input.shape) - 1, -1, -1))


def movedim(call: Call) -> Value:
    names = ("source", "destination")
    source, target = ([int(d)] if isinstance(d := call.given[n], int) else [int(e) for e in d] for n in names)
    dims = len(call.input.shape)
    places = dict(zip((t % dims for t in target), (s % dims for s in source), strict=True))
    rest = iter(d for d in range(dims) if d not in places.values())
    return _permuted(call, [places[d] if d in places else next(rest) for d in range(dims)])


def _permuted(call: Call, dims: Sequence[int]) -> Value:
    x = call.input
    dims = [d % len(x.shape) for d in dims]
    return replace(labelled(call, x), shape=tuple(x.shape[d] for d in dims), view=x.seen.permuted(dims))


def pixel_shuffle(call: Call) -> Value:
    """(C r^2, H, W) to (C, H r, W r)."""
    refuse_joined(call)
    x, r = plain(call, call.input), call.given["upscale_factor"]
    channels, height, width = x.shape[1] // r**2, *x.shape[2:]
    split = reshaped(call, x, (channels, r, r, height, width))
    mixed = _permuted(replace(call, given={"x": split}), (0, 1, 4, 2, 5, 3))
    return reshaped(call, mixed, (channels, height * r, width * r))


def pixel_unshuffle(call: Call) -> Value:
    """(C, H r, W r) to (C r^2, H, W)."""
    refuse_joined(call)
    x, r = plain(call, call.input), call.given["downscale_factor"]
    channels, height, width = x.shape[1], x.shape[2] // r, x.shape[3] // r
    split = reshaped(call, x, (channels, height, r, width, r))
    mixed = _permuted(replace(call, given={"x": split}), (0, 1, 3, 5, 2, 4))
    return reshaped(call, mixed, (channels * r**2, height, width))


def channel_shuffle(call: Call) -> Value:
    refuse_joined(call)
    x, groups = plain(call, call.input), call.given["groups"]
    channels, *spatial = x.own
    split = reshaped(call, x, (groups, channels // groups, *spatial))
    mixed = _permuted(replace(call, given={"x": split}), (0, 2, 1, *range(3, len(split.shape))))
    return reshaped(call, mixed, (channels, *spatial))


RESHAPES = ("flatten", "reshape", "view", "_unsafe_view", "squeeze", "unsqueeze", "unflatten", "view_as", "reshape_as")

RULES: Rules = {
    **dict.fromkeys(RESHAPES, reshape),
    "permute": permute,
    "t": turned,
    **dict.fromkeys(("transpose", "swapaxes", "swapdims"), transpose),
    **dict.fromkeys(("movedim", "moveaxis"), movedim),
    "pixel_shuffle": pixel_shuffle,
    "pixel_unshuffle": pixel_unshuffle,
    **dict.fromkeys(("channel_shuffle", "native_channel_shuffle"), channel_shuffle),
}
