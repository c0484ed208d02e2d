"""An order of the nodes in which less memory is live at once."""

from dataclasses import replace
from math import prod

from search.integer.graph import Node
from search.integer.memory import peak
from search.integer.program import Program


def ordered(program: Program) -> Program:
    """The program in the order of a greedy search, where that lowers the peak of its memory; else as it is.

    Of the nodes that can run, the one that leaves least live runs next; of several the one that comes first.
    """
    other = replace(program, nodes=_greedy(program))
    return other if _peak(other) < _peak(program) else program


def _greedy(program: Program) -> tuple[Node, ...]:
    left, found = list(program.nodes), list[Node]()
    readers = {name: sum(name in node.inputs for node in left) for name in program.tensors}
    for name in program.outputs:
        readers[name] += 1
    written = set(program.inputs)
    while left:
        ready = [node for node in left if written.issuperset(node.inputs)]
        chosen = min(ready, key=lambda node: _grown(program, node, readers))
        for name in set(chosen.inputs):
            readers[name] -= 1
        written.add(chosen.output)
        found.append(chosen)
        left.remove(chosen)
    return tuple(found)


def _grown(program: Program, node: Node, readers: dict[str, int]) -> int:
    """Bytes that are live after a node, less those before it."""
    freed = sum(_bytes(program, name) for name in set(node.inputs) if readers[name] == 1)
    return (0 if node.operator.stored or node.operator.aliases else _bytes(program, node.output)) - freed


def _peak(program: Program) -> int:
    lives = program.lifetimes()
    in_flash = {node.output for node in program.nodes if node.operator.stored}
    return peak(lives, {name: 0 if name in in_flash else _bytes(program, name) for name in lives})


def _bytes(program: Program, name: str) -> int:
    info = program.tensors[name]
    return prod(info.shape) * info.dtype.itemsize
