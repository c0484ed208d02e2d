"""The backend of NumPy: program.safetensors, and the executor."""

from functools import partial
from pathlib import Path

from search.deploy.backends import DEFAULTS, Codes, Options
from search.integer.executor import Executor
from search.integer.program import Program

FILE = "program.safetensors"


def write(program: Program, folder: Path, options: Options = DEFAULTS) -> Path:
    """Writes program.safetensors."""
    program.save(folder / FILE)
    return folder / FILE


def opened(file: Path) -> dict[str, Codes]:
    """The executor. See `search.deploy.backends.Backend`."""
    return {"NumPy": partial(Executor(Program.load(file)), intermediate=True)}
