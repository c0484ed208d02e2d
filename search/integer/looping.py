"""Loops of a graph: nodes that run once for each place of a sequence, and states that are carried between places.

Nodes of a loop follow each other. Some of them read a place of a sequence, give what was carried, or gather what is
computed; the others know nothing of the loop.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Protocol, TypeVar

from search.integer.graph import Graph, Node, ProgramError
from search.integer.traits import Border


class InLoop(Protocol):
    """What may be in a loop."""

    @property
    def loop(self) -> str:
        """The name of the loop that it is in; "": in none."""


Part = TypeVar("Part", bound=InLoop)


def parts(nodes: Sequence[Part]) -> Iterator[tuple[str, list[Part]]]:
    """Nodes that follow each other, with the name of their loop; ("", [node]) for each that is in none."""
    for (name, _), group in groupby(enumerate(nodes), key=lambda each: (each[1].loop, each[1].loop == "" and each[0])):
        yield name, [node for _, node in group]


def check_loops(graph: Graph) -> None:
    """Raises ProgramError, with the loop or the node, where a loop contradicts itself. References were checked."""
    seen = set[str]()
    for name, nodes in parts(graph.nodes):
        if not name:
            if nodes[0].operator.loops is not None:
                raise ProgramError(
                    f"node '{nodes[0].name}' ({nodes[0].op}): is in no loop; it is allowed in loops alone"
                )
            continue
        if name in seen:
            raise ProgramError(f"loop '{name}': its nodes do not follow each other. Put them together.")
        seen.add(name)
        lengths = _lengths(graph, nodes)
        if len(lengths) != 1:
            raise ProgramError(f"loop '{name}': reads sequences of {sorted(lengths)} places; one length is allowed")
        for node in nodes:
            fault = _fault(graph, node, {each.output for each in nodes}, min(lengths))
            if fault:
                raise ProgramError(f"node '{node.name}' ({node.op}), loop '{name}': {fault}")


def _lengths(graph: Graph, nodes: Sequence[Node]) -> set[int]:
    return {graph.tensors[n.inputs[0]].shape[-1] for n in nodes if n.operator.loops is Border.READ}


def _fault(graph: Graph, node: Node, inside: set[str], length: int) -> str:
    """What contradicts the loop that a node is in, in words; "": nothing. Args: inside: what the loop computes."""
    if node.operator.loops is Border.READ:
        return f"reads '{node.inputs[0]}', which the loop computes" if node.inputs[0] in inside else ""
    others = [name for name in node.reads if name not in inside]
    if others:
        return f"reads '{others[0]}', which the loop does not compute; only what reads a place of a sequence may"
    if node.operator.loops is Border.GATHER and node.attributes["steps"] != length:
        return f"gathers {node.attributes['steps']} places; the loop reads {length}"
    if node.operator.loops is Border.CARRY and graph.tensors[node.reads[0]].shape != graph.tensors[node.output].shape:
        return f"'{node.reads[0]}', which it carries, has shape {graph.tensors[node.reads[0]].shape}"
    return ""
