"""A loop of a Program as ONNX has it: a Scan, whose body is what runs at one place of a sequence."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx
from onnx import helper

from search.deploy.onnx.builder import Builder
from search.integer.program import Node, Program
from search.integer.traits import Border

SAMPLES = "n"


def scanned(
    b: Builder,
    program: Program,
    nodes: Sequence[Node],
    codes: Mapping[str, str],
    kind: Callable[[str], int],
    write: Callable[[Node, Mapping[str, str]], str],
) -> dict[str, str]:
    """Adds a Scan.

    Args:
        nodes: of the loop.
        codes: tensor -> the name of its codes, of what was computed before.
        kind: tensor -> the type of its codes, as ONNX numbers it.
        write: adds an operator that is in the loop, and returns the name of its codes.

    Returns:
        Tensor -> the name of its codes behind the loop, of all that it computes.
    """

    def info(name: str, tensor: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind(tensor), [SAMPLES, *program.tensors[tensor].shape])

    read, carried, gathered = (
        [node for node in nodes if node.operator.loops is border]
        for border in (Border.READ, Border.CARRY, Border.GATHER)
    )
    inner = {node.output: f"{node.output}.place" for node in (*carried, *read)}
    with b.body() as body:
        for node in nodes:
            if node.operator.loops is None:
                inner[node.output] = b("Identity", write(node, inner), output=f"{node.output}.place")
        # A state that goes on, and each output of a body, has a name of its own.
        states = [b("Identity", inner[node.reads[0]], output=f"{node.output}.next") for node in carried]
        inside = [node for node in nodes if node.operator.loops is not Border.GATHER]
        last = [b("Identity", inner[node.output], output=f"{node.output}.each") for node in inside]
        every = [b("Identity", inner[node.inputs[0]], output=f"{node.output}.each") for node in gathered]
    graph = helper.make_graph(
        body,
        nodes[0].loop,
        [info(inner[node.output], node.output) for node in (*carried, *read)],
        [
            *(info(name, node.output) for name, node in zip(states, carried, strict=True)),
            *(info(name, node.output) for name, node in zip(last, inside, strict=True)),
            *(info(name, node.inputs[0]) for name, node in zip(every, gathered, strict=True)),
        ],
    )
    ends = [f"{node.output}.end" for node in carried]
    stacked = [f"{node.output}.all" for node in (*inside, *gathered)]
    b.nodes.append(
        helper.make_node(
            "Scan",
            [
                *(_zeros(b, program, node.output, kind(node.output)) for node in carried),
                *(codes[node.inputs[0]] for node in read),
            ],
            [*ends, *stacked],
            f"scan {nodes[0].loop}",
            body=graph,
            num_scan_inputs=len(read),
            scan_input_axes=[len(program.tensors[node.inputs[0]].shape) for node in read],
            scan_output_axes=[*[0] * len(inside), *(len(program.tensors[node.output].shape) for node in gathered)],
        )
    )
    place = np.int64(program.steps(nodes[0]) - 1)
    found = {node.output: b("Gather", f"{node.output}.all", place, axis=0) for node in inside}
    return found | {node.output: f"{node.output}.all" for node in gathered}


def _zeros(b: Builder, program: Program, name: str, kind: int) -> str:
    """Zero, of as many samples as there are: (n, *shape)."""
    info = program.tensors[name]
    zeros = np.full(info.shape, info.zero_point, helper.tensor_dtype_to_np_dtype(kind))
    return b.for_each_sample(zeros, program.inputs[0])
