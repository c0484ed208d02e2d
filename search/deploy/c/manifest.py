"""network.json: what a program on a computer has to know of the generated one."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from search.deploy.c.layout import Stored
from search.deploy.c.network import Generated
from search.errors import FileError, UsageError
from search.integer.graph import Array
from search.integer.kernels import quantize
from search.integer.program import Program, TensorInfo

MANIFEST = "network.json"
SIZES = ("arena_bytes", "arena_bound", "constants_bytes")


@dataclass(frozen=True)
class Manifest:
    """Tensors as they are traced, and the names of inputs and outputs.

    Attributes:
        tensors: in the order of their numbers.
        constants_bytes: of all arrays in weights.c.
        arena_bytes: of all tensors and working memory; arena_bound: which no order of the same tensors can be under.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    tensors: tuple[Stored, ...]
    arena_bytes: int
    arena_bound: int
    constants_bytes: int

    @staticmethod
    def of(program: Program, made: Generated) -> "Manifest":
        sizes = made.arena.size, made.arena.bound, made.constants_bytes
        return Manifest(program.inputs, program.outputs, tuple(made.tensors), *sizes)

    def given(self, inputs: Sequence[Array]) -> list[Array]:
        """The codes of inputs as they lie: (n, elements) each.

        Args:
            inputs: normalised, float32 (n, *shape) each.

        Raises:
            UsageError: another number of inputs is expected.
        """
        if len(inputs) != len(self.inputs):
            raise UsageError(f"{len(inputs)} inputs found; {len(self.inputs)} expected: arrays for {list(self.inputs)}")
        by_name = {each.name: each for each in self.tensors}
        found = []
        for name, values in zip(self.inputs, inputs, strict=True):
            info = by_name[name].info
            codes = quantize(values, info.scale, info.zero_point, info.largest_code).astype(info.dtype)
            found.append(by_name[name].lying(codes))
        return found

    def parted(self, traced: Array) -> dict[str, Array]:
        """Name -> codes (n, *shape), of the bytes (n, all) of all tensors one behind another."""
        found, at = {}, 0
        for each in self.tensors:
            lying = np.ascontiguousarray(traced[:, at : at + each.bytes]).view(each.info.dtype)
            found[each.name] = each.seen(lying)
            at += each.bytes
        return found

    def to_json(self) -> str:
        found: dict[str, Any] = {"inputs": self.inputs, "outputs": self.outputs}
        found |= {name: getattr(self, name) for name in SIZES}
        return json.dumps({**found, "tensors": [_described(each) for each in self.tensors]}, indent=1) + "\n"

    @staticmethod
    def read(file: Path) -> "Manifest":
        """Raises FileError where there is none, or it is another file."""
        try:
            found = json.loads(file.read_text())
            tensors = tuple(_stored(each) for each in found["tensors"])
            sizes = [int(found[name]) for name in SIZES]
            return Manifest(tuple(found["inputs"]), tuple(found["outputs"]), tensors, *sizes)
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
