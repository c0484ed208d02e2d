"""The certificate of a network: what each backend computes of the same inputs, tensor by tensor."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from search.deploy.backends import (
    BACKENDS,
    Agreement,
    BuildFolder,
    Options,
    agreement,
    agreements_on_sound,
    backend,
    drawn_inputs,
)
from search.deploy.c.manifest import Manifest
from search.deploy.c.network import generated
from search.deploy.c.project import TITLE, VECTORS, digests, front_end_digest, whole_digest
from search.errors import BuildFailed, FileError, MissingTool, UsageError
from search.integer.executor import Executor
from search.integer.graph import Array
from search.integer.program import Program

LINE = re.compile(r"^\s*(\d+) ([0-9a-f]{8}) (?:ok|DIFFERS)\s*$")
NUMPY, TRAINING, LOG = "numpy", "training", "log"
FRONT_END = "front end"


@dataclass(frozen=True)
class Entry:
    """One way to run the network, compared with the NumPy executor.

    Attributes:
        missing: why it was not run; "": it was.
        agreement: what was found; None where it was not run.
    """

    backend: str
    missing: str = ""
    agreement: Agreement | None = None

    def line(self) -> str:
        """For the terminal."""
        if self.agreement is None:
            return f"{self.backend}: not run: {self.missing}"
        a = self.agreement
        found = f"{self.backend}: {a.mismatches} of {a.elements:,} elements of {a.tensors} tensors differ ({a.how})"
        return found if a.first is None else f"{found}\n  first {a.first}"

    @property
    def differs(self) -> bool:
        return self.agreement is not None and self.agreement.mismatches > 0


class Certified:
    """A program, the inputs that all run, and what the executor computes of them."""

    def __init__(self, program: Program, options: Options) -> None:
        self.program, self._options = program, options
        self.inputs = drawn_inputs(program)
        self.expected: dict[str, Array] = Executor(program)(*self.inputs, intermediate=True)

    def entries(self) -> Iterator[Entry]:
        """Of each backend, in each of its ways."""
        with BuildFolder() as folder:
            for name in BACKENDS:
                own = folder.path / name
                own.mkdir()
                try:
                    each = backend(name)
                    ways = each.opened(each.write(self.program, own, self._options))
                except (MissingTool, BuildFailed) as error:
                    folder.kept |= isinstance(error, BuildFailed)
                    yield Entry(name, missing=str(error))
                    continue
                for how, way in ways.items():
                    yield Entry(name, agreement=agreement(how, way.codes(*self.inputs), self.expected))
                for found in agreements_on_sound(self.program, ways).values():
                    yield Entry(name, agreement=found)

    def of_training(self, model: Path) -> Entry:
        """The network as it was trained, in integer semantics. Args: model: the model.safetensors of the run."""
        try:
            import torch

            from spaces.space import INTEGER, Space
        except ImportError:
            return Entry(TRAINING, missing="torch is not installed")
        if not model.is_file():
            return Entry(TRAINING, missing=f"there is no {model}")
        space = Space.load(model).eval()
        space = space.decide().eval() if space.decisions else space
        space.set_mode(INTEGER)
        codes = space.codes(*(torch.from_numpy(x) for x in self.inputs))
        found = {name: each.cpu().numpy() for name, each in codes.items()}
        return Entry(TRAINING, agreement=agreement(f"torch {torch.__version__}", found, self.expected))

    def of_log(self, log: Path) -> Entry:
        """What the self-test of a board has printed.

        Raises:
            FileError: the log cannot be read.
            UsageError: it is of another program, or none of a self-test.
        """
        try:
            lines = log.read_text(errors="replace").splitlines()
        except OSError as error:
            raise FileError(error.errno, f"{log}: cannot be read ({error.strerror}).") from error
        manifest = Manifest.of(self.program, generated(self.program))
        codes = Executor(self.program)(*drawn_inputs(self.program, VECTORS), intermediate=True)
        expected = [*digests(manifest, codes), *front_end_digest(self.program, manifest)]
        title = f"{TITLE} {whole_digest(expected)}"
        titles = [line.strip() for line in lines if line.strip().startswith(TITLE)]
        if not titles:
            raise UsageError(f"{log}: has no line '{TITLE} ...', with which a self-test begins. Run selftest.c again.")
        if titles[-1] != title:
            raise UsageError(
                f"{log}: '{titles[-1]}' found, '{title}' expected: it is the log of another program. Export this run "
                "again, and build and run its selftest.c."
            )
        last = max(place for place, line in enumerate(lines) if line.strip() == title)
        found = {int(m[1]): int(m[2], 16) for m in map(LINE.match, lines[last:]) if m is not None}
        missing = [number for number in range(len(expected)) if number not in found]
        if missing:
            raise UsageError(f"{log}: tensors {missing[:5]} are missing, {len(missing)} in all: the log is cut off.")
        return Entry(LOG, agreement=_of_digests(log, manifest, expected, found, codes))

    def certificate(self, entries: list[Entry], program_file: Path) -> str:
        """certificate.json. A digest is SHA-256 of the codes of all samples, channels first; 16 bits little-endian."""
        found: dict[str, Any] = {
            "program": hashlib.sha256(program_file.read_bytes()).hexdigest(),
            "constants": _digest(*(self.program.constants[name] for name in sorted(self.program.constants))),
            "samples": len(self.inputs[0]),
            "tensors": {name: _digest(codes) for name, codes in self.expected.items()},
            "backends": [_plain(each) for each in entries],
        }
        return json.dumps(found, indent=1) + "\n"


def _of_digests(
    log: Path, manifest: Manifest, expected: list[int], found: Mapping[int, int], codes: Mapping[str, Array]
) -> Agreement:
    wrong = [number for number, crc in enumerate(expected) if found[number] != crc]
    first = None
    if wrong:
        name = [*(each.name for each in manifest.tensors), FRONT_END][wrong[0]]
        first = f"{name}: CRC-32 {found[wrong[0]]:08x} found, {expected[wrong[0]]:08x} expected"
    sizes = [codes[each.name].size for each in manifest.tensors]
    sizes += [codes[manifest.inputs[0]][0].size] * (len(expected) - len(sizes))  # of one sound
    elements, different = sum(sizes), sum(sizes[number] for number in wrong)  # of a digest all or nothing
    return Agreement(f"self-test in {log.name}", different, len(expected), elements, first)


def _digest(*arrays: Array) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()


def _plain(entry: Entry) -> dict[str, Any]:
    if entry.agreement is None:
        return {"backend": entry.backend, "missing": entry.missing}
    return {"backend": entry.backend, **asdict(entry.agreement)}
