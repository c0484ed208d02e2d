"""The backend of ONNX: network.onnx, and onnxruntime."""

from pathlib import Path

import onnxruntime

from search.deploy.backends import DEFAULTS, Options, Runner, kilobytes
from search.deploy.onnx import model
from search.integer.program import Program

FILE = "network.onnx"


def write(program: Program, folder: Path, options: Options = DEFAULTS) -> Path:
    """Writes network.onnx."""
    model.write(program, folder / FILE)
    return folder / FILE


def size(file: Path) -> str:
    """Of the file."""
    return kilobytes(file)


def opened(file: Path) -> dict[str, Runner]:
    """onnxruntime, with its changes of the graph and without. See `search.deploy.backends.Backend`."""
    name, loaded = f"onnxruntime {onnxruntime.__version__}", model.load(file)
    return {
        f"{name}{how}": model.OnnxNetwork(loaded, optimized=optimized)
        for optimized, how in ((True, ", optimised"), (False, ", as written"))
    }
