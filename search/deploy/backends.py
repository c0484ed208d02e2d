"""Where a Program can be taken: each backend writes it into a folder, and computes every tensor of it there."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from shutil import rmtree
from statistics import median
from tempfile import mkdtemp
from time import perf_counter
from typing import Protocol, runtime_checkable

import numpy as np

from search.deploy.sounds import drawn_sounds
from search.errors import BuildFailed, MissingTool, UsageError
from search.integer.executor import Executor
from search.integer.graph import Array
from search.integer.program import Program

MOST_RUNS, SECONDS = 1000, 0.5  # of which a pace is the median, at most
SPEED, SIZE = "speed", "size"
SAMPLES = 32  # that every tensor is compared on, where no data is given
SOUNDS = 4  # that a front end is compared on


@dataclass(frozen=True)
class Options:
    """What can be chosen of what is written.

    Attributes:
        target: the core that it is for; see search.deploy.cortex_m.cores.
        optimize: "speed", where kernels are made for the shapes that they meet, or "size", where layers share them.
        flash_bytes, ram_bytes: that an image may take; None: as much as it does.
        qdq: whether a model with floats between QuantizeLinear and DequantizeLinear is written beside that of integers.

    Raises:
        UsageError: there is no such optimization.
    """

    target: str = "cortex_m4"
    optimize: str = SPEED
    flash_bytes: int | None = None
    ram_bytes: int | None = None
    qdq: bool = False

    def __post_init__(self) -> None:
        if self.optimize not in (SPEED, SIZE):
            raise UsageError(f"optimize '{self.optimize}' found; '{SPEED}' and '{SIZE}' are allowed.")


DEFAULTS = Options()


class Runner(Protocol):
    """One way to run what a backend wrote. Inputs are normalised, float32 (n, *shape) each."""

    def codes(self, *inputs: Array) -> Mapping[str, Array]:
        """The codes of every tensor, (n, *shape)."""
        ...

    def pace(self, *inputs: Array) -> str:
        """What one sample takes by itself, in words: "0.31 ms", or "1,200,000 instructions"."""
        ...


@runtime_checkable
class SoundRunner(Protocol):
    """A way to run what a backend wrote that has the front end of sound as well."""

    def read(self, raw: Array) -> Array:
        """The codes (n, *shape) of the input, of sound (n, samples) int16."""
        ...


class Backend(Protocol):
    """A program in the form of a backend, in a folder."""

    def write(self, program: Program, folder: Path, options: Options = DEFAULTS) -> Path:
        """Writes the program into a folder, which exists, and returns the file that stands for it."""
        ...

    def about(self, file: Path) -> str:
        """What was written, in words: the memory that it takes, mostly.

        Raises:
            MissingTool: what finds it out is not installed.
            UsageError: it is more than there may be.
        """
        ...

    def opened(self, file: Path) -> Mapping[str, Runner]:
        """What runs the file, for each way to run it, in words.

        Raises:
            MissingTool: what runs it is not installed.
            BuildFailed: it cannot be built.
        """
        ...


@runtime_checkable
class ImageBuilder(Protocol):
    """A backend that builds an image of a chip of what it wrote."""

    def linked(self, file: Path) -> Mapping[str, int]:
        """Bytes of the image, by the name of the cost that foretells them: those of cost_models.IMAGE_COSTS.

        Raises:
            MissingTool: what builds it is not installed.
            BuildFailed: it cannot be built.
            UsageError: it is more than there may be.
        """
        ...


def linked(found: Backend, file: Path) -> Mapping[str, int]:
    """Bytes of the image that a backend builds, see `ImageBuilder`; {} where it builds none."""
    return found.linked(file) if isinstance(found, ImageBuilder) else {}


class BuildFolder:
    """A folder for what is built: it is removed in the end, unless something in it could not be built."""

    def __init__(self) -> None:
        self.path = Path(mkdtemp(prefix="picojoule-"))
        self.kept = False

    def __enter__(self) -> "BuildFolder":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if not self.kept and not (kind is not None and issubclass(kind, BuildFailed)):
            rmtree(self.path, ignore_errors=True)


@dataclass(frozen=True)
class Entry:
    """A backend, which is imported when it is asked for.

    Attributes:
        needs: packages that it imports.
        extra: of picojoule, which installs them.
    """

    module: str
    needs: tuple[str, ...] = ()
    extra: str = ""


BACKENDS = {
    "numpy": Entry("search.deploy.numpy.backend"),
    "c": Entry("search.deploy.c.backend"),
    "cortex_m": Entry("search.deploy.cortex_m.backend", ("unicorn", "elftools"), "mcu"),
    "onnx": Entry("search.deploy.onnx.backend", ("onnx", "onnxruntime"), "onnx"),
}


def backend(name: str) -> Backend:
    """The backend of that name.

    Raises:
        UsageError: there is none.
        MissingTool: what it needs is not installed.
    """
    if name not in BACKENDS:
        raise UsageError(f"there is no backend '{name}'. There are {', '.join(BACKENDS)}.")
    entry = BACKENDS[name]
    absent = [package for package in entry.needs if find_spec(package) is None]
    if absent:
        raise MissingTool(f"{name}: {', '.join(absent)} not installed. Run `pip install 'picojoule[{entry.extra}]'`.")
    found: Backend = import_module(entry.module)
    return found


@dataclass(frozen=True)
class Agreement:
    """How many elements of a backend's tensors differ from the executor's, and how many were compared.

    Attributes:
        how: the backend was run.
        first: the first tensor, in execution order, that differs, with the place of the element and both codes; None
            where none differs.
    """

    how: str
    mismatches: int
    tensors: int
    elements: int
    first: str | None


def agreements(program: Program, ways: Mapping[str, Runner], *inputs: Array) -> list[Agreement]:
    """Compares what a backend computes with the executor, in every element of every tensor."""
    expected = Executor(program)(*inputs, intermediate=True)
    found = [agreement(how, way.codes(*inputs), expected) for how, way in ways.items()]
    return [*found, *agreements_on_sound(program, ways).values()]


def agreements_on_sound(program: Program, ways: Mapping[str, Runner]) -> dict[str, Agreement]:
    """Compares what a backend reads of sound with the front end, in each way that reads some.

    The sounds are drawn, the same at every call. Where the program has no front end, nothing is compared.
    """
    name, given = program.inputs[0], program.preprocessing
    readers = {how: way for how, way in ways.items() if isinstance(way, SoundRunner)}
    if given is None or given.frontend is None or not readers:
        return {}
    raw = drawn_sounds(given.frontend.samples, SOUNDS)
    expected = {name: given.codes(raw, program.tensors[name])}
    return {how: agreement(f"{how}, front end", {name: way.read(raw)}, expected) for how, way in readers.items()}


def different(found: Array, expected: Array) -> Array:
    """Where two tensors differ, in the shape of the second: everywhere, if their shapes do."""
    return np.not_equal(found, expected) if found.shape == expected.shape else np.ones(expected.shape, bool)


def agreement(how: str, found: Mapping[str, Array], expected: Mapping[str, Array]) -> Agreement:
    """Compares the codes of all tensors with those that are expected."""
    wrong, first = 0, None
    for name, codes in expected.items():
        differs = different(found[name], codes)
        wrong += int(differs.sum())
        if first is None and differs.any():
            place = tuple(int(index) for index in np.argwhere(differs)[0])
            if found[name].shape == codes.shape:
                first = f"{name}{list(place)}: {found[name][place]} found, {codes[place]} expected"
            else:
                first = f"{name}: shape {found[name].shape} found, {codes.shape} expected"
    return Agreement(how, wrong, len(expected), sum(codes.size for codes in expected.values()), first)


def drawn_inputs(program: Program, samples: int = SAMPLES) -> list[Array]:
    """Inputs whose codes are drawn evenly from all, the same at every call: float32 (n, *shape) each."""
    rng = np.random.default_rng(0)
    infos = [program.tensors[name] for name in program.inputs]
    codes = [rng.integers(0, 1 + info.largest_code, (samples, *info.shape)) for info in infos]
    return [np.float32(i.scale) * (c - i.zero_point).astype(np.float32) for i, c in zip(infos, codes, strict=True)]


def kilobytes(file: Path) -> str:
    """The size of a file, in words."""
    return f"{file.stat().st_size / 1024:.0f} kB"


def milliseconds(run: Callable[[], object]) -> str:
    """The median time of a call, in words."""
    run()  # which may prepare something
    began, each = perf_counter(), list[float]()
    while len(each) < MOST_RUNS and (not each or perf_counter() - began < SECONDS):
        before = perf_counter()
        run()
        each.append(perf_counter() - before)
    return f"{1e3 * median(each):.3g} ms"
