"""The QDQ variant: close to the program, of standard operators, and said how close."""

from pathlib import Path

import numpy as np
import pytest

from search.deploy.backends import Options, backend, drawn_inputs
from search.deploy.onnx import model
from search.deploy.onnx.qdq import WRITERS
from search.integer.executor import Executor
from search.integer.operators import OPERATORS
from tests.search.integer.programs import Build, attention_network, residual_network, resized_network

NETWORKS = {"residual": residual_network, "attention": attention_network, "resized": resized_network}


def test_every_operator_has_a_writer():
    assert set(WRITERS) == {name for name, each in OPERATORS.items() if not each.picks and each.loops is None}


@pytest.mark.parametrize("bits", [4, 8, 12])
@pytest.mark.parametrize("network", NETWORKS)
def test_each_layer_is_within_a_code_of_the_program(network: str, bits: int):
    """Rounding may differ in any layer, and what follows then, by a little more.

    Where onnxruntime fuses layers of more than 8 bits it multiplies them less exactly, so it leaves them alone here.
    """
    program = NETWORKS[network](bits)
    inputs = drawn_inputs(program, samples=5)
    found = model.OnnxNetwork(model.qdq_of(program), optimized=bits <= 8).codes(*inputs)
    expected = Executor(program)(*inputs, intermediate=True)
    for name, codes in expected.items():
        distance = np.abs(found[name].astype(int) - codes.astype(int))
        assert (distance > 0).mean() < 0.1 and np.quantile(distance, 0.99) <= 2, name


def test_windows_padding_and_tables():
    build = Build((4, 9, 8), zero_point=100)
    build.table = True
    build.conv(6, (3, 2), groups=2, widths=[2, 4, 8, 8, 4, 2], stride=[2, 1], padding=[[1, 1], [0, 1]])
    build.table = False
    build.pool("max_pool", (2, 2), padding=[[1, 0], [0, 1]])
    build.pool("avg_pool", (2, 3), padding=[[1, 0], [1, 1]])
    program = build.program()
    inputs = drawn_inputs(program, samples=5)
    found = model.OnnxNetwork(model.qdq_of(program)).codes(*inputs)
    expected = Executor(program)(*inputs, intermediate=True)
    assert all((found[name] != codes).mean() < 0.01 for name, codes in expected.items())


def test_it_is_written_by_option_and_what_differs_is_said(tmp_path: Path):
    onnx = backend("onnx")
    file = onnx.write(residual_network(), tmp_path)
    assert "qdq" not in onnx.about(file) and not (tmp_path / "network_qdq.onnx").exists()
    file = onnx.write(residual_network(), tmp_path, Options(qdq=True))
    assert "network_qdq.onnx" in onnx.about(file) and onnx.about(file).endswith("%)")
