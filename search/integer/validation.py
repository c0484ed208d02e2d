"""What must hold for a Program to be run: references, order, shapes, codes and constants."""

from math import isfinite
from typing import Any

import numpy as np

from search.integer.packing import row_bytes
from search.integer.program import WEIGHTED, Array, Node, Program, ProgramError, TensorInfo
from search.integer.shapes import OUTPUT_SHAPE

INPUTS = {"add": 2, "mul": 2}  # concat takes any number, every other operator one
CODE_PRESERVING = ("max_pool", "flatten")  # no requantization: the output has the input's scale
INT32_MAX = 2**31 - 1


def validate(program: Program) -> None:
    """Raise ProgramError, naming the node or tensor, at the first inconsistency."""
    if program.input not in program.tensors:
        raise ProgramError(f"input '{program.input}' is not among the tensors {sorted(program.tensors)}")
    for name, info in program.tensors.items():
        _check_tensor(name, info)
    written = {program.input}
    for node in program.nodes:
        try:
            _check_references(program, node, written)
            _check_shape(program, node)
            _check_constants(program, node)
        except (ValueError, KeyError, TypeError) as error:
            what = f"attribute or constant {error} is missing" if isinstance(error, KeyError) else error
            raise ProgramError(f"node '{node.name}' ({node.op}): {what}") from error
        written.add(node.output)
    if program.output not in written:
        raise ProgramError(f"output '{program.output}' is written by no node")


def _check_tensor(name: str, info: TensorInfo) -> None:
    if not 1 <= info.bits <= 16:
        raise ProgramError(f"tensor '{name}': {info.bits} bits found; 1..16 are allowed")
    if not (isfinite(info.scale) and info.scale > 0):
        raise ProgramError(f"tensor '{name}': scale {info.scale} found; it must be finite and > 0")
    if not 0 <= info.zero_point <= info.largest_code:
        raise ProgramError(f"tensor '{name}': zero point {info.zero_point} found; 0..{info.largest_code} are allowed")
    if not info.shape or min(info.shape) < 1:
        raise ProgramError(f"tensor '{name}': shape {info.shape} found; it needs a dimension, and sizes >= 1")


def _check_references(program: Program, node: Node, written: set[str]) -> None:
    if node.op not in OUTPUT_SHAPE:
        raise ValueError(f"unknown operator; there are {', '.join(OUTPUT_SHAPE)}")
    expected = INPUTS.get(node.op, len(node.inputs) if node.op == "concat" else 1)
    if len(node.inputs) != expected or not node.inputs:
        raise ValueError(f"{len(node.inputs)} inputs found, {max(1, expected)} expected")
    for name in node.inputs:
        if name not in written:
            raise ValueError(f"reads '{name}', which nothing before it writes")
    if node.output in written:
        raise ValueError(f"writes '{node.output}' a second time")
    if node.output not in program.tensors:
        raise ValueError(f"writes '{node.output}', which is not among the tensors")
    for role, name in node.constants.items():
        if name not in program.constants:
            raise ValueError(f"its {role} '{name}' is not among the constants")


def _check_shape(program: Program, node: Node) -> None:
    inputs = [program.tensors[name].shape for name in node.inputs]
    output = program.tensors[node.output].shape
    expected = OUTPUT_SHAPE[node.op](node.attributes, inputs, output)
    if output != expected:
        raise ValueError(f"output '{node.output}' has shape {output}; its inputs give {expected}")


def _check_constants(program: Program, node: Node) -> None:
    source, target = program.tensors[node.inputs[0]], program.tensors[node.output]
    if node.op in CODE_PRESERVING:
        if (source.bits, source.scale, source.zero_point) != (target.bits, target.scale, target.zero_point):
            raise ValueError("its output must have the bits, scale and zero point of its input")
    elif node.op == "table":
        _check_table(program.constant(node, "table"), source.largest_code + 1, target)
    else:
        _check_clip(program, node, target)
        channels = target.shape[0 if node.op == "conv" else -1]
        if node.op in WEIGHTED:
            _check_weights(program, node, channels)
        counts = {"conv": (channels, channels), "linear": (channels, channels), "add": (2, 1)}
        factors, shifts = counts.get(node.op, (len(node.inputs),) * 2 if node.op == "concat" else (1, 1))
        _check_multiplier(program.constant(node, "multiplier"), factors)
        _check_shift(program.constant(node, "shift"), shifts)


def _check_clip(program: Program, node: Node, target: TensorInfo) -> None:
    low, high = node.attributes["clip"]
    if not low <= high:
        raise ValueError(f"clip [{low}, {high}] is empty")
    if "table" in node.constants:
        _check_table(program.constant(node, "table"), high - low + 1, target)
    elif low < 0 or high > target.largest_code:
        raise ValueError(f"clip [{low}, {high}] found; codes of {target.bits} bits are 0..{target.largest_code}")
    if not -(2**31) <= node.attributes["zero_point"] <= INT32_MAX:
        raise ValueError(f"zero point {node.attributes['zero_point']} does not fit int32")


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


def _check_weights(program: Program, node: Node, channels: int) -> None:
    _check_array("bias", program.constant(node, "bias"), np.dtype(np.int32), (channels,))
    if ("widths" in node.constants) == ("weight_bits" in node.attributes):
        raise ValueError("give either the attribute weight_bits or, where channels differ, the constant widths")
    if "widths" in node.constants:
        _check_array("widths", program.constant(node, "widths"), np.dtype(np.uint8), (-(-channels // 2),))
    expected = int(row_bytes(program.widths(node), program.fan_in(node)).sum())
    _check_array("weight", program.constant(node, "weight"), np.dtype(np.uint8), (expected,))


def _check_array(role: str, array: Array, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    if array.dtype != dtype or array.shape != shape:
        raise ValueError(f"its {role} is {array.dtype}{list(array.shape)}; {dtype}{list(shape)} expected")
