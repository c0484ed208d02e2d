"""The backend of NumPy: program.safetensors, and the executor."""

from pathlib import Path

from search.deploy.backends import DEFAULTS, Options, Runner, kilobytes, milliseconds
from search.integer.executor import Executor
from search.integer.graph import Array
from search.integer.program import Program

FILE = "program.safetensors"


def write(program: Program, folder: Path, options: Options = DEFAULTS) -> Path:
    """Writes program.safetensors."""
    program.save(folder / FILE)
    return folder / FILE


class _Run:
    def __init__(self, program: Program) -> None:
        self._executor = Executor(program)

    def codes(self, *inputs: Array) -> dict[str, Array]:
        return self._executor(*inputs, intermediate=True)

    def pace(self, *inputs: Array) -> str:
        return milliseconds(lambda: self._executor(*(x[:1] for x in inputs)))


def about(file: Path) -> str:
    """Of the file."""
    return kilobytes(file)


def opened(file: Path) -> dict[str, Runner]:
    """The executor. See `search.deploy.backends.Backend`."""
    return {"NumPy": _Run(Program.load(file))}
