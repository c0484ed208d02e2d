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
        given = np.concatenate([each.view(np.uint8) for each in self._manifest.given(inputs)], axis=1).tobytes()
        done = subprocess.run([self._program], input=given, capture_output=True)
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()[:2000]
            raise UsageError(f"c: the compiled network ended with {done.returncode}: {said}. A defect: report it.")
        return self._manifest.parted(np.frombuffer(done.stdout, np.uint8).reshape(len(inputs[0]), -1))
