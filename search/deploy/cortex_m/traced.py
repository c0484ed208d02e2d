"""The generated C on an emulated core, which gives every tensor."""

import shutil
import weakref
from collections.abc import Sequence
from pathlib import Path
from tempfile import mkdtemp

import numpy as np

from search.deploy.c.compilers import compiled
from search.deploy.c.manifest import Manifest
from search.deploy.c.project import names
from search.deploy.cortex_m.cores import Core
from search.deploy.cortex_m.emulator import Counts, Emulator
from search.integer.graph import Array

SOURCES = ("network.c", "weights.c", "startup.c")
OPTIONS = ("-O3", "-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections")


class Traced:
    """Runs the C in a folder, compiled for a core."""

    def __init__(self, folder: Path, manifest: Manifest, core: Core, command: Sequence[str]) -> None:
        """Args: command: of the compiler for the core.

        Raises:
            UsageError: it fails.
        """
        self._manifest = manifest
        own = mkdtemp(prefix="picojoule-")
        weakref.finalize(self, shutil.rmtree, own, ignore_errors=True)
        program = Path(own) / "traced.elf"
        sources = [folder / name for name in (*SOURCES, "traced.c")]
        options = ["-DNETWORK_TRACE", *OPTIONS, f"-Wl,-T,{folder / 'image.ld'}"]
        compiled(command, sources, program, options)
        self._emulator = Emulator(program, core)
        self._traced: list[bytes] = []
        self._emulator.at("network_trace", lambda tensor, at, size: self._traced.append(self._emulator.read(at, size)))

    def codes(self, *inputs: Array) -> dict[str, Array]:
        """The codes (n, *shape) of every tensor, of normalised inputs, float32 (n, *shape) each."""
        given = self._manifest.given(inputs)
        traced = [self._run([codes[sample] for codes in given]) for sample in range(len(inputs[0]))]
        return self._manifest.parted(np.frombuffer(b"".join(traced), np.uint8).reshape(len(traced), -1))

    def pace(self, *inputs: Array) -> str:
        """Executed instructions of the first sample, in words."""
        return f"{self.counted(*inputs).instructions:,} instructions"

    def counted(self, *inputs: Array) -> Counts:
        """What is executed of the first sample."""
        self._put([codes[0] for codes in self._manifest.given(inputs)])
        return self._emulator.call("network_run", *self._addresses, counted=True)

    def _run(self, codes: Sequence[Array]) -> bytes:
        self._traced.clear()
        self._put(codes)
        self._emulator.call("network_run", *self._addresses)
        return b"".join(self._traced)

    def _put(self, codes: Sequence[Array]) -> None:
        for address, lying in zip(self._addresses, codes, strict=False):
            self._emulator.write(address, lying.tobytes())

    @property
    def _addresses(self) -> list[int]:
        """Of inputs and outputs."""
        each = (("in", self._manifest.inputs), ("out", self._manifest.outputs))
        return [self._emulator.symbols[name] for what, own in each for name in names(what, own)]
