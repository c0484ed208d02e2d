"""In which order the elements of each tensor lie, and where in the arena."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from math import prod

import numpy as np

from search.integer.graph import Array, Node
from search.integer.memory import Arena, Schedule, Use, in_place, lifetimes, planned
from search.integer.program import Program, TensorInfo
from search.integer.traits import Border, Channels, Work

ALIGNMENT = 4  # bytes, of what is read by words
AS_INPUT = (Channels.SAME, Channels.STACKED, Channels.TAKEN, Channels.REDUCED)


@dataclass(frozen=True)
class Stored:
    """A tensor as it lies in memory, a byte a code of up to 8 bits, and two for more.

    Attributes:
        factors: sizes whose row-major numbers are the row-major numbers of its elements. Mostly its shape.
        order: of the factors, the slowest first.
        constant: whether it lies in flash.
    """

    name: str
    info: TensorInfo
    factors: tuple[int, ...]
    order: tuple[int, ...]
    constant: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        return self.info.shape

    @property
    def bytes(self) -> int:
        return prod(self.shape) * self.info.dtype.itemsize

    @property
    def ctype(self) -> str:
        return f"uint{8 * self.info.dtype.itemsize}_t"

    @property
    def strides(self) -> tuple[int, ...]:
        """Elements from one place of each factor to the next."""
        steps, step = [0] * len(self.order), 1
        for axis in reversed(self.order):
            steps[axis], step = step, step * self.factors[axis]
        return tuple(steps)

    @cached_property
    def places(self) -> Array:
        """The row-major number of each element, in the order in which they lie."""
        return np.arange(prod(self.factors)).reshape(self.factors).transpose(self.order).reshape(-1)

    def lying(self, codes: Array) -> Array:
        """(n, *shape) to (n, elements), as they lie."""
        return np.ascontiguousarray(codes.reshape(len(codes), -1)[:, self.places])

    def seen(self, lying: Array) -> Array:
        """The inverse of `lying`."""
        codes = np.empty_like(lying)
        codes[:, self.places] = lying
        return codes.reshape(len(lying), *self.shape)

    def at_a_place(self, name: str, info: TensorInfo) -> "Stored":
        """A place of the sequence, along the last factor."""
        axis = len(self.factors) - 1
        return Stored(name, info, self.factors[:-1], tuple(each for each in self.order if each != axis))

    def reshaped(self, name: str, info: TensorInfo, last: bool) -> "Stored | None":
        """The same memory as a tensor of another shape; None where no order of its own axes describes it.

        Args:
            last: whether channels have to be last.
        """
        for order in (_channels_last(info.shape), *(() if last else (_row_major(info.shape),))):
            other = Stored(name, info, info.shape, order, self.constant)
            if np.array_equal(other.places, self.places):
                return other
        return None


def stored(program: Program) -> dict[str, Stored]:
    """How each tensor lies: channels last where a window slides over it or over what has its axes, else row-major."""
    last = _slid_over(program)
    found = {}
    for name in program.inputs:
        found[name] = _plain(program, name, name in last)
    for node in program.nodes:
        name = node.output
        found[name] = _plain(program, name, name in last, node.operator.stored)
        source_of_place = found[node.inputs[0]] if node.operator.loops is Border.READ else None
        if source_of_place is not None and _is_free(source_of_place):
            found[name] = source_of_place.at_a_place(name, program.tensors[name])
        if node.operator.aliases:
            source, info = found[node.inputs[0]], program.tensors[name]
            free = Stored(name, info, source.factors, source.order, source.constant)
            rows = len(info.shape) == 1 and _only_multiplied(program, name)
            places = len(info.shape) == 2 and source.factors[-1] == info.shape[-1] and _only_by_places(program, name)
            if name not in program.outputs and (rows or places):
                found[name] = free  # what multiplies it, or a place of it, has its columns in that order
            else:
                found[name] = source.reshaped(name, info, name in last) or found[name]
    return found


def _slid_over(program: Program) -> set[str]:
    found = set[str]()
    for node in program.nodes:
        if node.operator.convolves or node.operator.work is Work.WINDOW:
            found.update((*node.inputs, *node.outputs))
    while True:
        more = set[str]()
        for node in program.nodes:
            names = {*node.inputs, *node.outputs}
            if node.operator.channels in AS_INPUT and names & found:
                more |= names - found
        if not more:
            return found
        found |= more


def _only_multiplied(program: Program, name: str) -> bool:
    readers = [node for node in program.nodes if name in node.reads]
    return all(node.operator.weighted and not node.operator.convolves for node in readers)


def _only_by_places(program: Program, name: str) -> bool:
    """Whether what reads a sequence reads a place of it, which is then multiplied alone."""
    readers = [node for node in program.nodes if name in node.reads]
    return all(node.operator.loops is Border.READ and _only_multiplied(program, node.output) for node in readers)


def _is_free(x: Stored) -> bool:
    """Whether it lies as another tensor, whose axes are not its own."""
    return x.factors != x.shape


def _plain(program: Program, name: str, last: bool, constant: bool = False) -> Stored:
    info = program.tensors[name]
    order = _channels_last(info.shape) if last else _row_major(info.shape)
    return Stored(name, info, info.shape, order, constant)


def _row_major(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(range(len(shape)))


def _channels_last(shape: Sequence[int]) -> tuple[int, ...]:
    return (*range(1, len(shape)), 0)


def is_alias(node: Node, tensors: Mapping[str, Stored]) -> bool:
    """Whether no code runs: the output is the input's memory."""
    if not node.operator.aliases:
        return False
    return np.array_equal(tensors[node.inputs[0]].places, tensors[node.output].places)


def arena(program: Program, tensors: Mapping[str, Stored], scratch: Mapping[str, int]) -> Arena:
    """Where each tensor lies, and what each node works in.

    Args:
        scratch: node -> bytes.

    Returns:
        Offsets of memories; a tensor that lies in the memory of another has that one's. Working memory of a node NAME
        is called "NAME/scratch".
    """
    plan = _schedule(program, tensors, scratch)
    lives = lifetimes(program.inputs, program.outputs, plan)
    sizes = {
        name: 0 if name in tensors and tensors[name].constant else _bytes(name, tensors, scratch) for name in lives
    }
    found = planned(lives, sizes, ALIGNMENT)
    offsets = dict(found.offsets)
    for use in filter(None, plan):
        for name in use.outputs:
            offsets.setdefault(name, offsets[use.memory or name])
    return Arena(offsets, found.size, found.bound)


def _bytes(name: str, tensors: Mapping[str, Stored], scratch: Mapping[str, int]) -> int:
    return tensors[name].bytes if name in tensors else scratch[name.removesuffix("/scratch")]


def _schedule(program: Program, tensors: Mapping[str, Stored], scratch: Mapping[str, int]) -> Schedule:
    aliases = [node.inputs[0] if is_alias(node, tensors) else None for node in program.nodes]
    plain = [replace(use, memory=memory) for use, memory in zip(program.schedule(), aliases, strict=True)]
    uses = list[Use]()
    fits = partial(_fits, program, tensors)
    for node, use in zip(program.nodes, in_place(program.inputs, program.outputs, plain, fits), strict=True):
        uses.append(use)
        if scratch.get(node.name):  # a step of its own, at which all that the node reads and writes is still live
            uses.append(Use((node.output, *node.inputs), (f"{node.name}/scratch",), loop=node.loop))
    return uses


def _fits(program: Program, tensors: Mapping[str, Stored], step: int, name: str) -> bool:
    """Whether the output of a node can be written over an input, element by element."""
    node, x = program.nodes[step], tensors[name]
    y = tensors[node.output]
    alike = x.shape == y.shape and x.order == y.order and x.info.dtype == y.info.dtype
    return node.operator.elementwise and alike and not x.constant
