"""The integer network as a value that can be kept: what it weighs and does, and one safetensors file that holds it."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from search.atomic import write_bytes
from search.errors import FileError
from search.integer.answers import Answers
from search.integer.graph import Array, Graph, Node, ProgramError, State, TensorInfo
from search.integer.memory import Arena, Use, lifetimes, peak, planned
from search.integer.preprocessing import Preprocessing
from search.integer.schema import fields_of
from search.integer.shapes import repeated
from search.integer.validation import validate

__all__ = ["Node", "Program", "ProgramError", "TensorInfo"]

FORMAT = 6  # version of the file that save writes
WITHOUT_LOOPS = 5  # and where there are no loops and no front end of sound, so that earlier releases read it
WITHOUT_ANSWERS = 4  # and where there are no answers either
FLATTENED = 3  # the version before, in which reshape was called flatten, and upsample stood for some of what take is
NO_PREPROCESSING = 2  # the version before that
ONE_INPUT_ONE_OUTPUT = 1  # and before: a network has one input and one output, and so has a node
READ = (ONE_INPUT_ONE_OUTPUT, NO_PREPROCESSING, FLATTENED, WITHOUT_ANSWERS, WITHOUT_LOOPS, FORMAT)


@dataclass(frozen=True)
class Program(Graph):
    """Nodes in execution order, and everything that they name. The version of the file format is `FORMAT`.

    Attributes:
        preprocessing: of raw examples; None: the program reads normalised ones.
        classes: names of the classes that the output's channels score, or of two classes that one number tells apart:
            over 0 it is the second; () where it scores none.
        answers: what becomes of an output that is numbers; None: it is what it is.
        states: of a step: input -> what it becomes; see search.integer.stepping.
    """

    preprocessing: Preprocessing | None = None
    classes: tuple[str, ...] = ()
    answers: Answers | None = None
    states: dict[str, State] = field(default_factory=dict)

    @property
    def read(self) -> tuple[str, ...]:
        """The inputs that are no states."""
        return tuple(name for name in self.inputs if name not in self.states)

    @property
    def given(self) -> tuple[str, ...]:
        """The outputs that are no states."""
        return self.outputs[: len(self.outputs) - len(self.states)]

    def flash_bytes(self) -> int:
        """Bytes of all constants (packed weights, widths, biases, multipliers, shifts, tables); shared ones once."""
        return sum(constant.nbytes for constant in self.constants.values())

    def macs(self) -> int:
        """Products of all nodes that have some, padding included. 1 MAC = 2 FLOPs."""
        return sum(self.products(node) * self.steps(node) for node in self.nodes)

    def peak_ram_bytes(self) -> int:
        """The largest sum of live tensors, in bytes, over the schedule; see search.integer.memory."""
        lives = self.lifetimes()
        return peak(lives, self._sizes(lives))

    def lifetimes(self) -> dict[str, tuple[int, int]]:
        """First and last node at which each memory is live."""
        return lifetimes(self.inputs, self.outputs, self.schedule())

    def arena(self, alignment: int = 1) -> Arena:
        """Where each memory lies in one block of RAM, each offset a multiple of `alignment` bytes."""
        lives = self.lifetimes()
        return planned(lives, self._sizes(lives), alignment)

    def validate(self) -> None:
        """Raises ProgramError, with the node, unless every reference, shape, code and constant is consistent."""
        validate(self)
        self._check_states()
        first, last = self.tensors[self.inputs[0]], self.tensors[self.outputs[0]]
        fault = None if self.preprocessing is None else self.preprocessing.fault(first)
        if fault is not None or (self.preprocessing is not None and len(self.read) > 1):
            raise ProgramError(f"preprocessing: {fault or f'of one input, and there are {list(self.inputs)}'}")
        one_logit = len(self.classes) == 2 and last.shape == (1,)
        if self.classes and last.shape[0] != len(self.classes) and not one_logit:
            raise ProgramError(f"classes {list(self.classes)} found; output '{self.outputs[0]}' scores {last.shape[0]}")
        fault = None if self.answers is None else self.answers.fault(prod(last.shape))
        if fault is not None or (self.answers is not None and len(self.given) > 1):
            raise ProgramError(f"answers: {fault or f'of one output, and there are {list(self.outputs)}'}")

    def _check_states(self) -> None:
        """Raises ProgramError where states are not the last inputs and outputs, in order, or not what they become."""
        count, following = len(self.states), tuple(state.next for state in self.states.values())
        if count and (self.inputs[-count:], self.outputs[-count:]) != (tuple(self.states), following):
            raise ProgramError(f"states {self.states} found; they are the last inputs and outputs, in their order")
        if count and (count >= len(self.inputs) or count >= len(self.outputs)):
            raise ProgramError("all inputs, or all outputs, are states; a step reads something and gives something")
        for name, state in self.states.items():
            info, after = self.tensors[name], self.tensors[state.next]
            if info != after:
                raise ProgramError(f"state '{name}' is {info}, and '{state.next}' is {after}; they must be alike")
            if not 0 <= state.first <= info.largest_code:
                raise ProgramError(f"state '{name}' begins as {state.first}; 0..{info.largest_code} are allowed")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes one safetensors file, whole or not at all. The graph is JSON in its metadata, under "picojoule".

        Raises:
            ProgramError: the program is inconsistent.
            OSError: the file cannot be written.
        """
        self.validate()
        graph = self._as_json()
        header = {
            "version": self._version(),
            "sha256": checksum(graph, self.constants),
            "graph": graph,
        }
        constants = {name: np.ascontiguousarray(constant) for name, constant in self.constants.items()}
        write_bytes(Path(path), safetensors.numpy.save(constants, {"picojoule": json.dumps(header, allow_nan=False)}))

    @staticmethod
    def load(path: str | os.PathLike[str]) -> "Program":
        """Reads a file that save wrote, in this version's format or in one before.

        Raises:
            ProgramError: the file is no Program, truncated, damaged, edited, of an unknown version, or inconsistent.
            FileError: there is no such file, or it cannot be read.
        """
        header, constants = _read(path)
        if header.get("version") not in READ:
            raise ProgramError(
                f"{path}: format version {header.get('version')!r} found; this program reads versions "
                f"{', '.join(map(str, READ))}. Lower the network again, or use the release that wrote the file."
            )
        try:
            graph, expected = header["graph"], header["sha256"]
            if checksum(graph, constants) != expected:
                raise ProgramError(
                    f"{path}: the SHA-256 of its content is not the one recorded, so it was damaged or edited by hand. "
                    "Copy it again, or lower the network again."
                )
            if header["version"] == ONE_INPUT_ONE_OUTPUT:
                graph = _in_tuples(graph)
            if header["version"] <= FLATTENED:
                graph = {**graph, "nodes": [_renamed(node, graph["tensors"]) for node in graph["nodes"]]}
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise ProgramError(f"{path}: its graph is malformed ({error!r}). Lower the network again.") from error
        try:
            program = Program(**fields_of(graph, constants))
            program.validate()
        except ProgramError as error:
            raise ProgramError(f"{path}: {error}") from error
        return program

    def _as_json(self) -> dict[str, Any]:
        fields = asdict(self)
        del fields["constants"]
        if self.answers is None:
            del fields["answers"]
        if not self.states:
            del fields["states"]
        for node in fields["nodes"]:
            if not node["loop"]:
                del node["loop"]
        if self.preprocessing is not None:
            fields["preprocessing"] = self.preprocessing.to_json()
        graph: dict[str, Any] = json.loads(json.dumps(fields, allow_nan=False))
        return graph

    def _version(self) -> int:
        """The earliest format that has all that the program has."""
        reads_sound = self.preprocessing is not None and self.preprocessing.frontend is not None
        if reads_sound or self.states or any(node.loop for node in self.nodes):
            return FORMAT
        return WITHOUT_ANSWERS if self.answers is None else WITHOUT_LOOPS

    def schedule(self) -> list[Use]:
        """What each node reads and writes, in execution order, as the memory plan sees it."""
        return [
            Use(
                inputs=node.inputs,
                outputs=node.outputs,
                memory=node.inputs[0] if node.operator.aliases else None,
                loop=node.loop,
                throughout=node.throughout,
            )
            for node in self.nodes
        ]

    def _sizes(self, names: dict[str, tuple[int, int]]) -> dict[str, int]:
        in_flash = {node.output for node in self.nodes if node.operator.stored}
        return {name: 0 if name in in_flash else self.tensors[name].packed_bytes for name in names}


def checksum(graph: dict[str, Any], constants: dict[str, Array]) -> str:
    digest = hashlib.sha256(json.dumps(graph, sort_keys=True, allow_nan=False).encode())
    for name in sorted(constants):
        constant = constants[name]
        digest.update(json.dumps([name, constant.dtype.str, constant.shape]).encode())
        digest.update(constant.tobytes())
    return digest.hexdigest()


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Array]]:
    try:
        Path(path).open("rb").close()  # errors of safetensors have no errno
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            constants = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except OSError as error:
        found = f"{path}: cannot be read ({error.strerror or error})"
        raise FileError(error.errno, f"{found}. Give the program of a run, RUN/program.safetensors.") from error
    except (safetensors.SafetensorError, TypeError, ValueError, AttributeError) as error:  # types that NumPy lacks
        raise ProgramError(
            f"{path}: not a whole safetensors file ({error}). Copy it again, or lower the network again."
        ) from error
    try:
        header = json.loads(metadata["picojoule"])
        if not isinstance(header, dict):
            raise TypeError(f"'picojoule' holds a {type(header).__name__}")
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ProgramError(
            f"{path}: a safetensors file without a graph under 'picojoule' in its metadata ({error!r}). "
            "Give the program.safetensors of a run, not its model.safetensors."
        ) from error
    return header, constants


def _renamed(node: dict[str, Any], tensors: Mapping[str, Any]) -> dict[str, Any]:
    """A node of format 3 or before as format 4 has it."""
    if node["op"] == "flatten":
        return {**node, "op": "reshape"}
    if node["op"] != "upsample":
        return node
    return {**node, "op": "take", "attributes": repeated(tensors[node["inputs"][0]]["shape"], node["attributes"])}


def _in_tuples(graph: dict[str, Any]) -> dict[str, Any]:
    """A graph of format 1 in the form of format 2, where what was one name is a list of one."""
    nodes = [
        {**{key: value for key, value in node.items() if key != "output"}, "outputs": [node["output"]]}
        for node in graph["nodes"]
    ]
    rest = {key: value for key, value in graph.items() if key not in ("input", "output", "nodes")}
    return {**rest, "inputs": [graph["input"]], "outputs": [graph["output"]], "nodes": nodes}
