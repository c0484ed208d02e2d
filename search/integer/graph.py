"""The integer network as plain values: tensors, nodes in execution order, constants."""

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.errors import PicojouleError
from search.integer.operators import Operator, operator
from search.integer.packing import unpack_rows, unpack_widths
from search.integer.traits import Border, Count, Work

Array = NDArray[Any]


class ProgramError(PicojouleError, ValueError):
    """A Program that cannot be trusted or run. The message names the file or the node."""


@dataclass(frozen=True)
class TensorInfo:
    """One activation tensor. A real value is scale * (code - zero_point), with codes 0..2^bits-1.

    Args:
        shape: without the batch dimension, channels first.
        bits: 1..16.
    """

    shape: tuple[int, ...]
    bits: int
    scale: float
    zero_point: int

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the codes: uint8 up to 8 bits, and uint16 above."""
        return np.dtype(np.uint8 if self.bits <= 8 else np.uint16)

    @property
    def largest_code(self) -> int:
        return (1 << self.bits) - 1

    @property
    def packed_bytes(self) -> int:
        """Bytes of the tensor in RAM, its codes packed."""
        return -(-prod(self.shape) * self.bits // 8)


@dataclass(frozen=True)
class Node:
    """One operator of a graph.

    Attributes:
        inputs, outputs: names of tensors.
        attributes: values that JSON has.
        constants: role -> name of the constant. Two nodes may share a constant.
        loop: the name of the loop that it is in; "": in none. Nodes of a loop follow each other, and run once for each
            place of the sequences that it reads. What they compute is, behind the loop, that of the last place.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    constants: dict[str, str]
    loop: str = ""

    @property
    def reads(self) -> tuple[str, ...]:
        """Its inputs, and what it carries from one place of a sequence to the next."""
        return (*self.inputs, self.attributes["next"]) if self.operator.loops is Border.CARRY else self.inputs

    @property
    def throughout(self) -> tuple[str, ...]:
        """The tensors that live as long as its loop, for it carries or gathers them."""
        return {Border.CARRY: self.reads, Border.GATHER: self.outputs}.get(self.operator.loops, ())  # type: ignore[arg-type]

    @property
    def operator(self) -> Operator:
        """The specification of the node's operator. Raises UnknownOperator where there is none."""
        return operator(self.op)

    @property
    def output(self) -> str:
        """The only output.

        Raises:
            ValueError: there are several, or none.
        """
        if len(self.outputs) != 1:
            raise ValueError(f"node '{self.name}' has outputs {list(self.outputs)}; one was expected.")
        return self.outputs[0]


@dataclass(frozen=True)
class State:
    """An input of a step that is carried.

    Attributes:
        next: the output that it is in the next step.
        first: the code that all of it begins as.
    """

    next: str
    first: int


@dataclass(frozen=True)
class Graph:
    """Nodes in execution order, and everything that they name. Inputs and outputs are names of tensors, in order."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    tensors: dict[str, TensorInfo]
    nodes: tuple[Node, ...]
    constants: dict[str, Array]
    metadata: dict[str, Any]

    def constant(self, node: Node, role: str) -> Array:
        """The constant that the node has in that role. Raises KeyError where it has none."""
        return self.constants[node.constants[role]]

    def steps(self, node: Node) -> int:
        """How often a node runs: once, or for each place of what its loop reads."""
        if not node.loop:
            return 1
        lengths = (
            self.tensors[each.inputs[0]].shape[-1]
            for each in self.nodes
            if each.loop == node.loop and each.operator.loops is Border.READ
        )
        return next(lengths, 1)

    @property
    def weighted(self) -> tuple[Node, ...]:
        """The nodes that have weights."""
        return tuple(node for node in self.nodes if node.operator.weighted)

    def channels(self, node: Node) -> int:
        """Output channels of a node."""
        return self.tensors[node.output].shape[node.operator.channel_axis]

    def count(self, node: Node, count: Count) -> int:
        """How many numbers of a kind the node stores."""
        counts = {Count.NONE: 0, Count.ONE: 1, Count.INPUTS: len(node.inputs), Count.CHANNELS: self.channels(node)}
        return counts[count]

    def fan_in(self, node: Node) -> int:
        """Weights of one output channel of a node that has weights.

        Raises:
            ValueError: it has none.
        """
        if node.operator.fan_in is None:
            raise ValueError(f"node '{node.name}' ({node.op}) has no weights.")
        return node.operator.fan_in(node.attributes, self.tensors[node.inputs[0]].shape)

    def products(self, node: Node) -> int:
        """Products of a node, each time that it runs: of weights and codes, or of codes and codes."""
        output = self.tensors[node.output].shape
        if node.operator.work is Work.PAIRS:
            return prod(output) * prod(
                node.operator.window(node.attributes, [self.tensors[n].shape for n in node.inputs])
            )
        if not node.operator.weighted:
            return 0
        places = self.tensors[node.inputs[0]].shape[1:] if node.operator.spreads else output[1:]
        rows = output[0] if node.operator.convolves else prod(output)
        return self.fan_in(node) * rows * (prod(places) if node.operator.convolves else 1)

    def widths(self, node: Node) -> Array:
        """Bits of each output channel of a node that has weights: (channels,), uint8."""
        channels = self.constant(node, "bias").size
        if "widths" in node.constants:
            return unpack_widths(self.constant(node, "widths"), channels)
        return np.full(channels, node.attributes["weight_bits"], np.uint8)

    def weights(self, node: Node) -> Array:
        """Codes of a node's weights: (channels, fan_in), int8; a row is (C_in / groups, *kernel) in C order."""
        return unpack_rows(self.constant(node, "weight"), self.widths(node), self.fan_in(node))

    def largest_sum(self, node: Node) -> int:
        """See `largest_sum`, of a node that has weights."""
        largest = self.tensors[node.inputs[0]].largest_code
        return largest_sum(self.weights(node), self.constant(node, "bias"), largest)


def largest_sum(weights: Array, bias: Array, largest_code: int) -> int:
    """What the magnitude of no sum of codes exceeds, nor that of a part of it, whatever the order of its terms.

    Args:
        weights: (channels, fan_in), codes.
        bias: (channels,).
        largest_code: of the input.
    """
    magnitudes = np.abs(weights.astype(np.int16)).sum(axis=1, dtype=np.int64) * largest_code + np.abs(
        bias.astype(np.int64)
    )
    return int(magnitudes.max())
