"""Weights as the generated kernels read them: channels of one width lie together, and each row is padded with zeros.

Codes of 8 bits lie one after another. Those of 4 bits lie two a byte: byte j of each 4 holds codes j and 4 + j of 8.
Those of 2 bits lie four a byte: byte j of each 4 holds codes j, 4 + j, 8 + j and 12 + j of 16, the first in the lowest
bits. A kernel leaves a code in the highest bits of a byte, so that sums and biases are 16 or 64 times as large; the
shift grows by 4 or 6. Where such a sum could overflow, codes are stored with 8 bits. A width between these takes the
next.
"""

from dataclasses import dataclass

import numpy as np

from search.integer.graph import Array, Node
from search.integer.program import Program

STORED = (2, 4, 8)  # bits
INT32_MAX = 2**31 - 1
LARGEST_SHIFT = 62


@dataclass(frozen=True)
class Segment:
    """Channels whose weights have one width.

    Attributes:
        bits: 2, 4 or 8.
        channels: their numbers.
        codes: (channels, depth), int8; a row is padded with zeros.
    """

    bits: int
    channels: Array
    codes: Array

    @property
    def extra(self) -> int:
        """Bits by which sums are larger."""
        return 8 - self.bits

    @property
    def side_by_side(self) -> bool:
        """Whether its channels follow one another without gaps."""
        return bool((np.diff(self.channels) == 1).all())

    def part(self, first: int, last: int) -> "Segment":
        """Those of its channels that are from `first` on and below `last`."""
        inside = (self.channels >= first) & (self.channels < last)
        return Segment(self.bits, self.channels[inside], self.codes[inside])

    def packed(self) -> Array:
        """(bytes,), uint8 for less than 8 bits, else int8."""
        if self.bits == 8:
            return self.codes.reshape(-1)
        fields = 8 // self.bits
        by_field = self.codes.view(np.uint8).reshape(-1, fields, 4) & ((1 << self.bits) - 1)
        shifts = (self.bits * np.arange(fields, dtype=np.uint8))[None, :, None]
        packed: Array = np.bitwise_or.reduce(by_field << shifts, axis=1).reshape(-1)
        return packed


def padded_depth(depth: int, bits: int) -> int:
    """Codes of a row, which is a whole number of words of 32 bits."""
    each = 32 // bits
    return -(-depth // each) * each


def stored_widths(program: Program, node: Node) -> Array:
    """(channels,), uint8: 2, 4 or 8 bits."""
    weights, bias = program.weights(node).astype(np.int64), program.constant(node, "bias").astype(np.int64)
    largest = np.abs(weights).sum(1) * program.tensors[node.inputs[0]].largest_code + np.abs(bias)
    stored = np.array([min(each for each in STORED if each >= width) for width in program.widths(node)])
    over = (largest << (8 - stored) > INT32_MAX) | (program.constant(node, "shift") + (8 - stored) > LARGEST_SHIFT)
    stored[over] = 8
    return stored.astype(np.uint8)


def segments(program: Program, node: Node, order: Array) -> list[Segment]:
    """The weights of a node.

    Args:
        order: (fan_in,), where each code of a row comes from.
    """
    weights, stored = program.weights(node)[:, order], stored_widths(program, node)
    found = []
    for bits in sorted(set(stored.tolist())):
        channels = np.flatnonzero(stored == bits)
        codes = np.zeros((len(channels), padded_depth(weights.shape[1], bits)), np.int8)
        codes[:, : weights.shape[1]] = weights[channels]
        found.append(Segment(bits, channels, codes))
    return found
