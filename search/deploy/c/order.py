"""An order of the nodes in which less memory is live at once."""

from dataclasses import replace
from math import prod

from search.integer.memory import reordered
from search.integer.program import Program


def ordered(program: Program) -> Program:
    """The program in an order of its nodes that needs less memory, where there is one; see search.integer.memory."""
    in_flash = {node.output for node in program.nodes if node.operator.stored}
    sizes = {name: 0 if name in in_flash else _bytes(program, name) for name in program.tensors}
    order = reordered(program.inputs, program.outputs, program.schedule(), sizes)
    return replace(program, nodes=tuple(program.nodes[place] for place in order))


def _bytes(program: Program, name: str) -> int:
    info = program.tensors[name]
    return prod(info.shape) * info.dtype.itemsize
