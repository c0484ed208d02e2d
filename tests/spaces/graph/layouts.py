"""Tensors of numbered elements, and where they lie: what views and forms are compared with."""

from collections.abc import Sequence
from dataclasses import replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from spaces.graph.op import Op
from spaces.graph.value import Value
from spaces.graph.view import SAMPLES

Array = NDArray[np.int64]


def numbered(*shape: int) -> Array:
    """(SAMPLES, *shape): no two elements have the same number."""
    return np.arange(SAMPLES * prod(shape)).reshape(SAMPLES, *shape)


def computed(op: Op, x: Array) -> Array:
    """What an operator makes of one sample, (C, *spatial)."""
    a = op.attributes
    if op.kind == "reshape":
        return x.reshape(a["shape"])
    if op.kind == "permute":
        return x.transpose(a["axes"])
    assert op.kind == "take", op.kind
    for axis, places in enumerate(a["indices"]):
        x = x.take(places, axis) if places else x
    return x


def run(ops: Sequence[Op], x: Array) -> dict[str, Array]:
    """All stored tensors by name, each sample computed by itself."""
    found = {"input": x}
    for op in ops:
        found[op.name] = np.stack([computed(op, sample) for sample in found[op.inputs[0]]])
        assert found[op.name].shape[1:] == op.shape, op.name
    return found


def seen(value: Value, stored: Array) -> Array:
    """The user's tensor, by what a view means: each of its axes is some of the factors of the stored axes."""
    view = value.seen
    assert view.stored == stored.shape[1:]
    factors = [factor for axis in view.axes for factor in axis]
    spread = stored.reshape(view.sizes)
    rest = [factor for factor in range(len(view.sizes)) if factor not in factors]
    assert all(view.sizes[factor] == 1 for factor in rest)
    return spread.transpose(*factors, *rest).reshape(value.shape)


def transposed(value: Value, dims: Sequence[int]) -> Value:
    return replace(value, shape=tuple(value.shape[d] for d in dims), view=value.seen.permuted(dims))
