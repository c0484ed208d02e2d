"""The backend of ONNX: network.onnx, and onnxruntime."""

from pathlib import Path

import numpy as np
import onnxruntime

from search.deploy.backends import DEFAULTS, SAMPLES, Options, Runner, kilobytes
from search.deploy.onnx import model
from search.integer.program import Program

FILE, QDQ = "network.onnx", "network_qdq.onnx"


def write(program: Program, folder: Path, options: Options = DEFAULTS) -> Path:
    """Writes network.onnx, and network_qdq.onnx where that is asked for."""
    model.write(model.model_of(program), folder / FILE)
    if options.qdq:
        model.write(model.qdq_of(program), folder / QDQ)
    return folder / FILE


def about(file: Path) -> str:
    """The size of the file, and how many codes of a QDQ model beside it differ."""
    said, other = kilobytes(file), file.with_name(QDQ)
    if not other.is_file():
        return said
    exact, approximate = (model.OnnxNetwork(model.load(each)) for each in (file, other))
    inputs = exact.drawn(SAMPLES)
    found, expected = approximate.codes(*inputs), exact.codes(*inputs)
    wrong = sum(int(np.not_equal(found[name], codes).sum()) for name, codes in expected.items())
    total = sum(codes.size for codes in expected.values())
    return f"{said}; {QDQ}: {kilobytes(other)}, {wrong:,} of {total:,} elements differ ({100 * wrong / total:.3f}%)"


def opened(file: Path) -> dict[str, Runner]:
    """onnxruntime, with its changes of the graph and without. See `search.deploy.backends.Backend`."""
    name, loaded = f"onnxruntime {onnxruntime.__version__}", model.load(file)
    return {
        f"{name}{how}": model.OnnxNetwork(loaded, optimized=optimized)
        for optimized, how in ((True, ", optimised"), (False, ", as written"))
    }
