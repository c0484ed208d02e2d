"""What all kernels of nodes are made of: the protocol, requantization as a node states it, and the order of axes.

A tensor of shape (c, *spatial) is an array of codes (*spatial, n, c); windows.py says why. A kernel fills some lines of
its output, which are a range of its first axis, so its working memory is small whatever the size of the image.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from search.integer import kernels
from search.integer.kernels import Array, Finish, Requantizer, Scratch
from search.integer.program import Node, Program

Inputs = Sequence[Array]


class Prepared(Protocol):
    """Fills out[lines] from the inputs. If it is whole, lines are always all of them."""

    whole: bool

    def __call__(self, inputs: Inputs, out: Array, lines: range, scratch: Scratch) -> None: ...


def requantizer(program: Program, node: Node, addend: Array) -> Requantizer:
    """A requantizer with the node's multipliers and shifts. addend: (channels,) or (1,), see Requantizer."""
    multiplier, shift = program.constant(node, "multiplier"), program.constant(node, "shift")
    return Requantizer(kernels.real_multiplier(multiplier, shift), int(shift.max()), addend, finish(program, node))


def finish(program: Program, node: Node) -> Finish:
    return Finish(node.attributes, program.constant(node, "table") if "table" in node.constants else None)


def to_batch_first(codes: Array) -> Array:
    """(*spatial, n, c) -> (n, c, *spatial), a view."""
    return np.moveaxis(codes, (-2, -1), (0, 1))


def from_batch_first(codes: Array) -> Array:
    """(n, c, *spatial) -> (*spatial, n, c), a view."""
    return np.moveaxis(codes, (0, 1), (-2, -1))


def strip_of(codes: Array, lines: range) -> Array:
    """The lines, or the only line of a tensor that is broadcast along its first axis."""
    return codes[lines.start : lines.stop] if len(codes) > 1 else codes
