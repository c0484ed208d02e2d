"""What must hold for a Program to be run: references, order, shapes, codes and constants."""

from math import isfinite
from typing import Any

import numpy as np

from search.integer.graph import Array, Graph, Node, ProgramError, TensorInfo
from search.integer.looping import check_loops
from search.integer.operators import OPERATORS
from search.integer.packing import NARROWEST, WIDEST, row_bytes
from search.integer.schema import misfits
from search.kinds import WHOLE, Kind, listed, whole

INT32_MAX = 2**31 - 1
REQUANTIZED = {
    "zero_point": whole(-INT32_MAX - 1, INT32_MAX),
    "clip": Kind("[lowest, highest]", lambda value: listed(WHOLE).holds(value) and len(value) == 2),
}
WEIGHT_BITS = {"weight_bits": whole(NARROWEST, WIDEST)}


def validate(graph: Graph) -> None:
    """Raises ProgramError, with the node or tensor, at the first inconsistency."""
    _check_ends(graph)
    for name, info in graph.tensors.items():
        _check_tensor(name, info)
    written = set(graph.inputs)
    for node in graph.nodes:
        try:
            _check_references(graph, node, written)
            _check_attributes(node)
            _check_shape(graph, node)
            _check_constants(graph, node)
        except (ValueError, KeyError, TypeError) as error:
            what = f"attribute or constant {error} is missing" if isinstance(error, KeyError) else error
            raise ProgramError(f"node '{node.name}' ({node.op}): {what}") from error
        written.update(node.outputs)
    check_loops(graph)
    for name in graph.outputs:
        if name not in written:
            raise ProgramError(f"output '{name}' is written by no node")
    _check_names(graph)


def _check_names(graph: Graph) -> None:
    named = set(graph.inputs).union(*(node.outputs for node in graph.nodes))
    used = {name for node in graph.nodes for name in node.constants.values()}
    for what, unused in (("tensors", graph.tensors.keys() - named), ("constants", graph.constants.keys() - used)):
        if unused:
            raise ProgramError(f"{what} {sorted(unused)}: no node has them. Remove them, or name them in a node.")


def _check_ends(graph: Graph) -> None:
    if not graph.inputs or len(set(graph.inputs)) != len(graph.inputs):
        raise ProgramError(f"inputs {list(graph.inputs)} found; one or more different names are allowed")
    if not graph.outputs:
        raise ProgramError("no output found; one or more names are allowed")
    for name in graph.inputs:
        if name not in graph.tensors:
            raise ProgramError(f"input '{name}' is not among the tensors {sorted(graph.tensors)}")


def _check_tensor(name: str, info: TensorInfo) -> None:
    if not 1 <= info.bits <= 16:
        raise ProgramError(f"tensor '{name}': {info.bits} bits found; 1..16 are allowed")
    if not (isfinite(info.scale) and info.scale > 0):
        raise ProgramError(f"tensor '{name}': scale {info.scale} found; it must be finite and > 0")
    if not 0 <= info.zero_point <= info.largest_code:
        raise ProgramError(f"tensor '{name}': zero point {info.zero_point} found; 0..{info.largest_code} are allowed")
    if not info.shape or min(info.shape) < 1:
        raise ProgramError(f"tensor '{name}': shape {info.shape} found; it needs a dimension, and sizes >= 1")


def _check_references(graph: Graph, node: Node, written: set[str]) -> None:
    if node.op not in OPERATORS or node.operator.picks:
        known = [name for name, each in OPERATORS.items() if not each.picks]
        raise ValueError(f"unknown operator; there are {', '.join(known)}")
    expected = len(node.inputs) if node.operator.arity is None else node.operator.arity
    if len(node.inputs) != expected or (node.operator.arity is None and not node.inputs):
        raise ValueError(
            f"{len(node.inputs)} inputs found, {'one or more' if node.operator.arity is None else expected} expected"
        )
    if len(node.outputs) != 1:
        raise ValueError(f"{len(node.outputs)} outputs found, 1 expected")
    for name in node.inputs:
        if name not in written:
            raise ValueError(f"reads '{name}', which nothing before it writes")
    if node.output in written:
        raise ValueError(f"writes '{node.output}' a second time")
    if node.output not in graph.tensors:
        raise ValueError(f"writes '{node.output}', which is not among the tensors")
    _check_roles(graph, node)


def _check_roles(graph: Graph, node: Node) -> None:
    operator, found = node.operator, node.constants.keys()
    needed = {
        "weight": operator.weighted,
        "bias": operator.biased,
        "multiplier": operator.requantizes,
        "shift": operator.requantizes,
        "table": operator.looks_up,
        "exponentials": operator.exponentiates,
        "codes": operator.stored,
    }
    allowed = {role for role, has in needed.items() if has}
    missing = sorted(allowed - found)
    if missing:
        raise ValueError(f"constants {missing} are missing")
    allowed |= {"widths"} if operator.weighted else set()
    allowed |= {"table"} if operator.requantizes else set()  # of an activation
    if not found <= allowed:
        raise ValueError(f"constants {sorted(found - allowed)} found; {sorted(allowed)} are allowed")
    for role, name in node.constants.items():
        if name not in graph.constants:
            raise ValueError(f"its {role} '{name}' is not among the constants")


def _check_attributes(node: Node) -> None:
    operator = node.operator
    needed = {**operator.attributes, **(REQUANTIZED if operator.requantizes else {})}
    wrong = misfits(node.attributes, needed, {**operator.optional, **(WEIGHT_BITS if operator.weighted else {})})
    if wrong:
        raise ValueError("; ".join(wrong))


def _check_shape(graph: Graph, node: Node) -> None:
    inputs = [graph.tensors[name].shape for name in node.inputs]
    output = graph.tensors[node.output].shape
    expected = node.operator.output_shape(node.attributes, inputs, output)
    if output != expected:
        raise ValueError(f"output '{node.output}' has shape {output}; its inputs give {expected}")


def _check_constants(graph: Graph, node: Node) -> None:
    target, operator = graph.tensors[node.output], node.operator
    if operator.stored:
        _check_codes(graph.constant(node, "codes"), target)
        return
    source = graph.tensors[node.reads[0]]
    scales = [(info.bits, info.scale, info.zero_point) for info in (source, target)]
    if operator.keeps_codes and scales[0] != scales[1]:
        raise ValueError("its output must have the bits, scale and zero point of its input")
    if operator.looks_up:
        _check_table(graph.constant(node, "table"), source.largest_code + 1, target)
    if operator.exponentiates:
        _check_exponentials(graph.constant(node, "exponentials"), source.largest_code + 1)
    if operator.weighted:
        _check_weights(graph, node)
    elif operator.biased:
        _check_array("bias", graph.constant(node, "bias"), np.dtype(np.int32), (graph.channels(node),))
    if operator.bound is not None:
        bound = operator.bound(node.attributes, [graph.tensors[name] for name in node.inputs])
        _check_sum(bound + (int(np.abs(graph.constant(node, "bias").astype(np.int64)).max()) if operator.biased else 0))
    if operator.requantizes:
        _check_clip(graph, node, target)
        _check_multiplier(graph.constant(node, "multiplier"), graph.count(node, operator.multipliers))
        _check_shift(graph.constant(node, "shift"), graph.count(node, operator.shifts))


def _check_codes(codes: Array, target: TensorInfo) -> None:
    _check_array("codes", codes, target.dtype, target.shape)
    if codes.max() > target.largest_code:
        raise ValueError(f"code {codes.max()} found; codes of {target.bits} bits are 0..{target.largest_code}")


def _check_exponentials(exponentials: Array, entries: int) -> None:
    _check_array("exponentials", exponentials, np.dtype(np.uint16), (entries,))
    if exponentials[0] < 1:
        raise ValueError("its exponential of 0 is 0; 1..65535 are allowed, for what is divided by holds it")


def _check_clip(graph: Graph, node: Node, target: TensorInfo) -> None:
    low, high = node.attributes["clip"]
    if not low <= high:
        raise ValueError(f"clip [{low}, {high}] is empty")
    if "table" in node.constants:
        _check_table(graph.constant(node, "table"), high - low + 1, target)
    elif low < 0 or high > target.largest_code:
        raise ValueError(f"clip [{low}, {high}] found; codes of {target.bits} bits are 0..{target.largest_code}")


def _check_table(table: Array, entries: int, target: TensorInfo) -> None:
    _check_array("table", table, target.dtype, (entries,))
    if table.max() > target.largest_code:
        raise ValueError(f"its table holds {table.max()}; codes of {target.bits} bits are 0..{target.largest_code}")


def _check_multiplier(multiplier: Array, count: int) -> None:
    _check_array("multiplier", multiplier, np.dtype(np.int16), (count,))
    if multiplier.min() == -(1 << 15):
        raise ValueError("multiplier -32768 found; magnitudes up to 2^15-1 are allowed")


def _check_shift(shift: Array, count: int) -> None:
    _check_array("shift", shift, np.dtype(np.uint8), (count,))
    if shift.min() < 1 or shift.max() > 62:
        raise ValueError(f"shifts {shift.min()}..{shift.max()} found; 1..62 are allowed")


def _check_weights(graph: Graph, node: Node) -> None:
    channels = graph.channels(node)
    _check_array("bias", graph.constant(node, "bias"), np.dtype(np.int32), (channels,))
    if ("widths" in node.constants) == ("weight_bits" in node.attributes):
        raise ValueError("give either the attribute weight_bits or, where channels differ, the constant widths")
    if "widths" in node.constants:
        _check_array("widths", graph.constant(node, "widths"), np.dtype(np.uint8), (-(-channels // 2),))
    if graph.fan_in(node) > INT32_MAX:
        raise ValueError(f"{graph.fan_in(node)} weights of a channel found; up to {INT32_MAX} are allowed")
    expected = int(row_bytes(graph.widths(node), graph.fan_in(node)).sum())
    _check_array("weight", graph.constant(node, "weight"), np.dtype(np.uint8), (expected,))
    _check_sum(graph.largest_sum(node))


def _check_sum(bound: int) -> None:
    if bound > INT32_MAX:
        raise ValueError(f"a sum could reach {bound}, over int32's {INT32_MAX}")


def _check_array(role: str, array: Array, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    if array.dtype != dtype or array.shape != shape:
        raise ValueError(f"its {role} is {array.dtype}{list(array.shape)}; {dtype}{list(shape)} expected")
