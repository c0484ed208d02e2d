"""network.json: what a program on a computer has to know of the generated one."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.deploy.c.layout import Stored
from search.deploy.c.network import Generated
from search.errors import FileError
from search.integer.program import Program, TensorInfo


@dataclass(frozen=True)
class Manifest:
    """Tensors as they are traced, and the names of inputs and outputs.

    Attributes:
        tensors: in the order of their numbers.
        arena_bytes: of all tensors and working memory; arena_bound: which no order of the same tensors can be under.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    tensors: tuple[Stored, ...]
    arena_bytes: int
    arena_bound: int

    @staticmethod
    def of(program: Program, made: Generated) -> "Manifest":
        return Manifest(program.inputs, program.outputs, tuple(made.tensors), made.arena.size, made.arena.bound)

    def to_json(self) -> str:
        found: dict[str, Any] = {"inputs": self.inputs, "outputs": self.outputs}
        found |= {"arena_bytes": self.arena_bytes, "arena_bound": self.arena_bound}
        return json.dumps({**found, "tensors": [_described(each) for each in self.tensors]}, indent=1) + "\n"

    @staticmethod
    def read(file: Path) -> "Manifest":
        """Raises FileError where there is none, or it is another file."""
        try:
            found = json.loads(file.read_text())
            tensors = tuple(_stored(each) for each in found["tensors"])
            arena = found["arena_bytes"], found["arena_bound"]
            return Manifest(tuple(found["inputs"]), tuple(found["outputs"]), tensors, *arena)
        except OSError as error:
            raise FileError(error.errno, f"{file}: cannot be read ({error.strerror}). Export the run again.") from error
        except (ValueError, KeyError, TypeError) as error:
            raise FileError(None, f"{file}: describes no network ({error!r}). Export the run again.") from error


def _described(tensor: Stored) -> dict[str, Any]:
    info = tensor.info
    numbers = {"bits": info.bits, "scale": info.scale, "zero_point": info.zero_point}
    return {"name": tensor.name, "shape": info.shape, **numbers, "factors": tensor.factors, "order": tensor.order}


def _stored(found: Mapping[str, Any]) -> Stored:
    info = TensorInfo(tuple(found["shape"]), found["bits"], found["scale"], found["zero_point"])
    return Stored(found["name"], info, tuple(found["factors"]), tuple(found["order"]))
