"""Whether the executor computes what the specification says."""

import numpy as np

from search.integer.executor import Executor
from search.integer.program import Program
from tests.search.integer import reference

IMAGES = 3


def codes_of(program: Program, images: int = IMAGES) -> np.ndarray:
    info = program.tensors[program.inputs[0]]
    return np.random.default_rng(1).integers(0, info.largest_code, (images, *info.shape), info.dtype, endpoint=True)


def assert_equals_reference(program: Program, codes: np.ndarray | None = None) -> None:
    """Every tensor, every bit; and the codes must not be all alike, or equality would prove little."""
    codes = codes_of(program) if codes is None else codes
    found = Executor(program)(codes, intermediate=True)
    assert set(found) == set(program.tensors)
    for index, image in enumerate(codes):
        for name, expected in reference.run(program, image).items():
            assert found[name].dtype == program.tensors[name].dtype
            np.testing.assert_array_equal(found[name][index], expected.astype(int), err_msg=name)
    assert len(np.unique(found[program.outputs[0]])) > 1
