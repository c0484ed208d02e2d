"""The backend of NumPy: program.safetensors, and the executor."""

from pathlib import Path

from search.integer.executor import Executor
from search.integer.graph import Array
from search.integer.program import Program

FILE = "program.safetensors"


def write(program: Program, folder: Path) -> Path:
    """Writes program.safetensors."""
    program.save(folder / FILE)
    return folder / FILE


def run(file: Path, *inputs: Array) -> dict[str, dict[str, Array]]:
    """Every tensor by the executor. See `search.deploy.backends.Backend`."""
    return {"NumPy": Executor(Program.load(file))(*inputs, intermediate=True)}
