"""The generated C as a program of this computer, which gives every tensor."""

import shutil
import subprocess
import weakref
from collections.abc import Sequence
from pathlib import Path
from tempfile import mkdtemp

import numpy as np

from search.deploy.c.compilers import compiled
from search.deploy.c.manifest import Manifest
from search.errors import UsageError
from search.integer.graph import Array
from search.integer.kernels import quantize

SOURCES = ("network.c", "weights.c", "trace.c")


class Traced:
    """Runs the C in a folder, compiled for this computer."""

    def __init__(self, folder: Path, manifest: Manifest, command: Sequence[str], options: Sequence[str]) -> None:
        """Args: command: of the compiler; options: of it.

        Raises:
            UsageError: it fails.
        """
        self._manifest = manifest
        own = mkdtemp(prefix="picojoule-")
        weakref.finalize(self, shutil.rmtree, own, ignore_errors=True)
        self._program = Path(own) / "trace"
        sources = [folder / name for name in SOURCES]
        compiled(command, sources, self._program, ["-DNETWORK_TRACE", *options])

    def codes(self, *inputs: Array) -> dict[str, Array]:
        """The codes (n, *shape) of every tensor, of normalised inputs, float32 (n, *shape) each.

        Raises:
            UsageError: another number of inputs is expected, or the program failed.
        """
        manifest = self._manifest
        if len(inputs) != len(manifest.inputs):
            raise UsageError(f"{len(inputs)} inputs found; {len(manifest.inputs)} expected: {list(manifest.inputs)}")
        by_name = {each.name: each for each in manifest.tensors}
        parts = []
        for name, values in zip(manifest.inputs, inputs, strict=True):
            tensor, info = by_name[name], by_name[name].info
            codes = quantize(values, info.scale, info.zero_point, info.largest_code).astype(info.dtype)
            parts.append(tensor.lying(codes).view(np.uint8))
        given = np.concatenate(parts, axis=1).tobytes()
        done = subprocess.run([self._program], input=given, capture_output=True)
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()[:2000]
            raise UsageError(f"c: the compiled network ended with {done.returncode}: {said}. A defect: report it.")
        return _parted(manifest, np.frombuffer(done.stdout, np.uint8).reshape(len(inputs[0]), -1))


def _parted(manifest: Manifest, traced: Array) -> dict[str, Array]:
    found, at = {}, 0
    for each in manifest.tensors:
        lying = np.ascontiguousarray(traced[:, at : at + each.bytes]).view(each.info.dtype)
        found[each.name] = each.seen(lying)
        at += each.bytes
    return found
