"""The generated C on an emulated core, which gives every tensor."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from search.deploy.c.manifest import Manifest
from search.deploy.c.project import names
from search.deploy.cortex_m.build import Build
from search.deploy.cortex_m.emulator import Counts, Emulator
from search.integer.graph import Array


class Traced:
    """Runs the C in a folder, compiled for a core."""

    def __init__(self, build: Build, manifest: Manifest) -> None:
        """Compiles it.

        Raises:
            MissingTool: there is no compiler for the core.
            UsageError: it fails.
        """
        self._manifest = manifest
        with TemporaryDirectory(prefix="picojoule-") as folder:
            program = Path(folder) / "traced.elf"
            build.link("traced.c", program, ["-DNETWORK_TRACE"])
            self._emulator = Emulator(program, build.core)
        self._traced: list[bytes] = []
        self._until: list[Counts] = []  # at each tensor
        self._emulator.at("network_trace", self._take)

    def codes(self, *inputs: Array) -> dict[str, Array]:
        """The codes (n, *shape) of every tensor, of normalised inputs, float32 (n, *shape) each."""
        given = self._manifest.given(inputs)
        traced = [self._run([codes[sample] for codes in given]) for sample in range(len(inputs[0]))]
        return self._manifest.parted(np.frombuffer(b"".join(traced), np.uint8).reshape(len(traced), -1))

    def read(self, raw: Array) -> Array:
        """The codes (n, *shape) of the input, as network_read makes them of sound (n, samples) int16."""
        x = next(each for each in self._manifest.tensors if each.name == self._manifest.inputs[0])
        found = []
        for sound in raw:
            self.heard(sound)
            found.append(self._emulator.read(self._emulator.symbols["in"], x.bytes))
        return x.seen(np.frombuffer(b"".join(found), x.info.dtype).reshape(len(raw), -1))

    def heard(self, sound: Array, counted: bool = False) -> Counts:
        """What is executed of network_read. Args: sound: (samples,) int16; counted: whether it is counted."""
        symbols = self._emulator.symbols
        self._emulator.write(symbols["raw"], sound.tobytes())
        return self._emulator.call("network_read", symbols["raw"], symbols["in"], counted=counted)

    def pace(self, *inputs: Array) -> str:
        """Executed instructions of the first sample, in words."""
        return f"{self.counted(*inputs).instructions:,} instructions"

    def counted(self, *inputs: Array) -> Counts:
        """What is executed of the first sample."""
        self._put([codes[0] for codes in self._manifest.given(inputs)])
        self._traced.clear()
        self._until.clear()
        return self._emulator.call("network_run", *self._addresses, counted=True)

    def by_tensor(self, *inputs: Array) -> dict[str, Counts]:
        """What is executed to compute each tensor of the first sample, in the order in which they are written.

        Functions, and the stack, are those up to then.
        """
        counts = self.counted(*inputs)
        found, before = {}, Counts()
        for tensor, until in zip(self._manifest.tensors, self._until, strict=True):
            instructions, loads = until.instructions - before.instructions, until.loads - before.loads
            functions = {name: n - before.by_function.get(name, 0) for name, n in until.by_function.items()}
            own = {name: n for name, n in functions.items() if n}
            found[tensor.name] = Counts(instructions, loads, counts.stack, own)
            before = until
        return found

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of each function."""
        return self._emulator.sizes

    def _take(self, tensor: int, address: int, size: int) -> None:
        self._traced.append(self._emulator.read(address, size))
        counts = self._emulator.counts
        self._until.append(replace(counts, by_function=dict(counts.by_function)))

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
