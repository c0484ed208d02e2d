"""The generated C as a program of this computer, which gives every tensor."""

import shutil
import subprocess
import weakref
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import mkdtemp

import numpy as np

from search.compilers import compiled
from search.deploy.c.manifest import Manifest
from search.errors import UsageError
from search.integer.graph import Array

SOURCES = ("network.c", "weights.c", "trace.c")


RUNS, SECONDS = (3, 10_000), 0.2  # of one sample, whose time is the mean


class Traced:
    """Runs the C in a folder, compiled for this computer."""

    def __init__(self, folder: Path, manifest: Manifest, command: Sequence[str], options: Sequence[str]) -> None:
        """Args: command: of the compiler; options: of it.

        Raises:
            UsageError: it fails.
        """
        self._manifest = manifest
        self._own = Path(mkdtemp(prefix="picojoule-"))
        weakref.finalize(self, shutil.rmtree, self._own, ignore_errors=True)
        self._compile = partial(compiled, command, [folder / name for name in SOURCES])
        self._options, self._program = options, self._own / "trace"
        self._compile(self._program, ["-DNETWORK_TRACE", *options])

    def codes(self, *inputs: Array) -> dict[str, Array]:
        """The codes (n, *shape) of every tensor, of normalised inputs, float32 (n, *shape) each.

        Raises:
            UsageError: another number of inputs is expected, or the program failed.
        """
        traced = self._run([self._program], inputs)
        return self._manifest.parted(np.frombuffer(traced, np.uint8).reshape(len(inputs[0]), -1))

    def read(self, raw: Array) -> Array:
        """The codes (n, *shape) of the input, as network_read makes them of sound (n, samples) int16.

        Raises:
            UsageError: the program failed.
        """
        found = self._ended([self._program, "read"], np.ascontiguousarray(raw).tobytes())
        x = next(each for each in self._manifest.tensors if each.name == self._manifest.inputs[0])
        return x.seen(np.frombuffer(found, x.info.dtype).reshape(len(raw), -1))

    def pace(self, *inputs: Array) -> str:
        """What one sample takes by itself, in words."""
        return f"{1e3 * self.seconds(*inputs):.3g} ms"

    def seconds(self, *inputs: Array) -> float:
        """Of the first sample."""
        program, one = self._own / "timed", [x[:1] for x in inputs]
        if not program.exists():
            self._compile(program, self._options)
        least, most = RUNS
        first = float(self._run([program, str(least)], one))
        return float(self._run([program, str(max(least, min(most, int(SECONDS / max(first, 1e-9)))))], one))

    def _run(self, command: Sequence[str | Path], inputs: Sequence[Array]) -> bytes:
        given = np.concatenate([each.view(np.uint8) for each in self._manifest.given(inputs)], axis=1).tobytes()
        return self._ended(command, given)

    def _ended(self, command: Sequence[str | Path], given: bytes) -> bytes:
        done = subprocess.run(command, input=given, capture_output=True)
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()[:2000]
            raise UsageError(f"c: the compiled network ended with {done.returncode}: {said}. A defect: report it.")
        return done.stdout
