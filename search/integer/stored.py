"""The kernel of constants in the graph."""

import numpy as np

from search.integer.kernels import Array, Scratch
from search.integer.node_kernels import Inputs, from_batch_first
from search.integer.program import Node, Program


class Constant:
    """The same codes for every sample."""

    whole = True

    def __init__(self, program: Program, node: Node) -> None:
        self._codes = program.constant(node, "codes")

    def __call__(self, inputs: Inputs, out: Array, lines: range, scratch: Scratch) -> None:
        out[...] = np.broadcast_to(from_batch_first(self._codes[None]), out.shape)
