"""The integer network as a value: tensors, nodes, constants, and one safetensors file that holds them."""

import hashlib
import json
import os
import tempfile
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from search.integer.packing import unpack_rows, unpack_widths

FORMAT = 1  # version of the file; a reader refuses any other
WEIGHTED = ("conv", "linear")  # operators with weights

Array = NDArray[Any]


class ProgramError(ValueError):
    """A Program that cannot be trusted or run. The message names the file or the node."""


@dataclass(frozen=True)
class TensorInfo:
    """One activation tensor; real value = scale * (code - zero_point), codes 0..2^bits-1.

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
        """Of the codes: uint8 up to 8 bits, uint16 above."""
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
    """One operator: names of tensors in and out, JSON attributes, and constants by role (two nodes may share one)."""

    name: str
    op: str
    inputs: tuple[str, ...]
    output: str
    attributes: dict[str, Any]
    constants: dict[str, str]


@dataclass(frozen=True)
class Program:
    """Nodes in execution order, and everything they name."""

    input: str
    output: str
    tensors: dict[str, TensorInfo]
    nodes: tuple[Node, ...]
    constants: dict[str, Array]
    metadata: dict[str, Any]

    def constant(self, node: Node, role: str) -> Array:
        """The node's constant in that role; KeyError if it has none."""
        return self.constants[node.constants[role]]

    def fan_in(self, node: Node) -> int:
        """Weights of one output channel of a conv or linear node."""
        shape = self.tensors[node.inputs[0]].shape
        if node.op == "linear":
            return shape[-1]
        return int(prod(node.attributes["kernel"])) * shape[0] // int(node.attributes["groups"])

    def widths(self, node: Node) -> Array:
        """Bits of each output channel of a conv or linear node: (channels,), uint8."""
        channels = self.constant(node, "bias").size
        if "widths" in node.constants:
            return unpack_widths(self.constant(node, "widths"), channels)
        return np.full(channels, node.attributes["weight_bits"], np.uint8)

    def weights(self, node: Node) -> Array:
        """Codes of a conv or linear node: (channels, fan_in), int8; a row is (C_in / groups, *kernel) in C order."""
        return unpack_rows(self.constant(node, "weight"), self.widths(node), self.fan_in(node))

    def flash_bytes(self) -> int:
        """Bytes of all constants: packed weights, widths, biases, multipliers, shifts, tables; shared ones once."""
        return sum(constant.nbytes for constant in self.constants.values())

    def macs(self) -> int:
        """Products of all conv and linear nodes, padding included: outputs * fan-in. 1 MAC = 2 FLOPs."""
        weighted = [node for node in self.nodes if node.op in WEIGHTED]
        return sum(prod(self.tensors[node.output].shape) * self.fan_in(node) for node in weighted)

    def peak_ram_bytes(self) -> int:
        """The largest sum of live tensors, in bytes, over the schedule.

        A tensor lives from the node that writes it (the program's input: from the start) to the last that reads it (the
        program's output: to the end). A flatten's output is its input under another shape: it adds no bytes and keeps
        it alive.
        """
        storage = self._storage()
        born = {self.input: 0}
        dies = {self.input: 0, storage[self.output]: len(self.nodes)}
        for step, node in enumerate(self.nodes):
            born.setdefault(storage[node.output], step)
            for name in (*node.inputs, node.output):
                dies[storage[name]] = max(step, dies.get(storage[name], 0))
        size = {name: self.tensors[name].packed_bytes for name in born}
        steps = range(max(1, len(self.nodes)))
        return max(sum(size[name] for name in born if born[name] <= step <= dies[name]) for step in steps)

    def validate(self) -> None:
        """Raise ProgramError, naming the node, unless every reference, shape, code and constant is consistent."""
        from search.integer.validation import validate  # it reads the classes above

        validate(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one safetensors file, whole or not at all; the graph is JSON in its metadata under "picojoule".

        Raises:
            ProgramError: the program is inconsistent.
        """
        self.validate()
        graph = self._graph()
        header = {"version": FORMAT, "sha256": _checksum(graph, self.constants), "graph": graph}
        constants = {name: np.ascontiguousarray(constant) for name, constant in self.constants.items()}
        data = safetensors.numpy.save(constants, {"picojoule": json.dumps(header, allow_nan=False)})
        target = Path(path)
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.replace(temporary, target)
        except BaseException:
            os.unlink(temporary)
            raise

    @staticmethod
    def load(path: str | os.PathLike[str]) -> "Program":
        """Read a file that save wrote.

        Raises:
            ProgramError: not a Program, truncated, damaged or edited, of an unknown version, or inconsistent.
        """
        header, constants = _read(path)
        if header.get("version") != FORMAT:
            raise ProgramError(
                f"{path}: format version {header.get('version')!r} found; this program reads version {FORMAT}. "
                "Lower the network again, or use the release that wrote the file."
            )
        try:
            graph, expected = header["graph"], header["sha256"]
            if _checksum(graph, constants) != expected:
                raise ProgramError(
                    f"{path}: the SHA-256 of its content is not the one recorded, so it was damaged or edited by hand. "
                    "Copy it again, or lower the network again."
                )
            program = _from_graph(graph, constants)
        except (KeyError, TypeError, AttributeError) as error:
            raise ProgramError(f"{path}: its graph is malformed ({error!r}). Lower the network again.") from error
        try:
            program.validate()
        except ProgramError as error:
            raise ProgramError(f"{path}: {error}") from error
        return program

    def _graph(self) -> dict[str, Any]:
        fields = asdict(self)
        del fields["constants"]
        graph: dict[str, Any] = json.loads(json.dumps(fields, allow_nan=False))
        return graph

    def _storage(self) -> dict[str, str]:
        """For each tensor, the tensor whose bytes it uses: its own, or its input's behind a flatten."""
        storage = {self.input: self.input}
        for node in self.nodes:
            storage[node.output] = storage[node.inputs[0]] if node.op == "flatten" else node.output
        return storage


def _checksum(graph: dict[str, Any], constants: dict[str, Array]) -> str:
    digest = hashlib.sha256(json.dumps(graph, sort_keys=True).encode())
    for name in sorted(constants):
        constant = constants[name]
        digest.update(json.dumps([name, constant.dtype.str, constant.shape]).encode())
        digest.update(constant.tobytes())
    return digest.hexdigest()


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Array]]:
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            constants = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except safetensors.SafetensorError as error:
        raise ProgramError(
            f"{path}: not a whole safetensors file ({error}). Copy it again, or lower the network again."
        ) from error
    try:
        header = json.loads(metadata["picojoule"])
        if not isinstance(header, dict):
            raise TypeError(f"'picojoule' holds a {type(header).__name__}")
    except (KeyError, TypeError, ValueError) as error:
        raise ProgramError(
            f"{path}: a safetensors file without a graph under 'picojoule' in its metadata ({error!r}). "
            "Give the program.safetensors of a run, not its model.safetensors."
        ) from error
    return header, constants


def _from_graph(graph: dict[str, Any], constants: dict[str, Array]) -> Program:
    tensors = {name: TensorInfo(**{**info, "shape": tuple(info["shape"])}) for name, info in graph["tensors"].items()}
    nodes = tuple(Node(**{**node, "inputs": tuple(node["inputs"])}) for node in graph["nodes"])
    return Program(**{**graph, "tensors": tensors, "nodes": nodes, "constants": constants})
