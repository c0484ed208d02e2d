"""Kernels of the nodes that move codes and compute nothing."""

import numpy as np

from search.integer.kernels import Array, Scratch
from search.integer.node_kernels import Inputs, from_batch_first, to_batch_first
from search.integer.program import Node, Program


class Take:
    """The codes at places that are listed for each axis."""

    whole = False

    def __init__(self, program: Program, node: Node) -> None:
        channels, *spatial = (np.array(places, np.intp) for places in node.attributes["indices"])
        self._lines = spatial[0] if spatial else channels[:0]
        self._others = [(axis, places) for axis, places in enumerate(spatial[1:], 1) if places.size]
        self._others += [(-1, channels)] if channels.size else []

    def __call__(self, inputs: Inputs, out: Array, lines: range, scratch: Scratch) -> None:
        part = slice(lines.start, lines.stop)
        strip = inputs[0][self._lines[part]] if self._lines.size else inputs[0][part]
        for axis, places in self._others:
            strip = strip.take(places, axis)
        out[part] = strip


class Permute:
    """The same codes with the axes in another order."""

    whole = True

    def __init__(self, program: Program, node: Node) -> None:
        self._axes = tuple(axis + 1 for axis in node.attributes["axes"])

    def __call__(self, inputs: Inputs, out: Array, lines: range, scratch: Scratch) -> None:
        out[...] = from_batch_first(to_batch_first(inputs[0]).transpose(0, *self._axes))


class Reshape:
    """The same codes under another shape, in the order of the channels-first tensor."""

    whole = True

    def __init__(self, program: Program, node: Node) -> None:
        self._shape = tuple(node.attributes["shape"])

    def __call__(self, inputs: Inputs, out: Array, lines: range, scratch: Scratch) -> None:
        out[...] = from_batch_first(to_batch_first(inputs[0]).reshape(-1, *self._shape))
