"""The ONNX model of a Program: the same integers, and integers alone."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, shape_inference

from search.deploy.backends import drawn_inputs
from search.deploy.onnx import model
from search.errors import FileError, UsageError
from search.integer.executor import Executor
from search.integer.preprocessing import Preprocessing
from search.integer.program import Program
from tests.search.integer.programs import Build, attention_network, residual_network, resized_network

NETWORKS = {"residual": residual_network, "attention": attention_network, "resized": resized_network}
FLOATS = {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16}


def assert_same(program: Program, *inputs: np.ndarray) -> None:
    expected = Executor(program)(*inputs, intermediate=True)
    for optimized in (True, False):
        found = model.OnnxNetwork(model.model_of(program), optimized=optimized).codes(*inputs)
        assert found.keys() == expected.keys()
        for name, codes in expected.items():
            assert found[name].shape == codes.shape, name
            assert int((found[name] != codes).sum()) == 0, name


@pytest.mark.parametrize("bits", [2, 4, 8, 12])
@pytest.mark.parametrize("network", NETWORKS)
def test_every_tensor_is_that_of_the_executor(network: str, bits: int):
    program = NETWORKS[network](bits)
    assert_same(program, *drawn_inputs(program, samples=5))


def test_values_outside_of_the_grid_take_its_ends():
    program = residual_network()
    shape = (1, *program.tensors["x"].shape)
    largest = np.finfo(np.float32).max
    assert_same(program, np.concatenate([np.full(shape, x, np.float32) for x in (-largest, -1e4, 0, 1e4, largest)]))


@pytest.mark.parametrize("kernel", [(3,), (3, 2), (2, 1, 3)])
def test_windows_of_any_dimension(kernel: tuple[int, ...]):
    build, sizes = Build((4, *(7,) * len(kernel)), zero_point=100), range(len(kernel))
    build.conv(
        6,
        kernel,
        groups=2,
        widths=[2, 4, 8, 8, 4, 2],
        stride=[1 + i % 2 for i in sizes],
        padding=[[2, 1]] * len(kernel),
    )
    build.pool("max_pool", kernel, padding=[[1, 1]] * len(kernel), dilation=[1 + i % 2 for i in sizes])
    build.pool("avg_pool", (2,) * len(kernel), padding=[[1, 0]] * len(kernel))
    program = build.program()
    assert_same(program, *drawn_inputs(program, samples=3))


def test_the_largest_sums_saturate_nowhere():
    """Pairs of products of 255 and 127 pass int16, in which some processors add bytes up."""
    build = Build((64, 3, 3), zero_point=0)
    build.conv(8, (3, 3))
    program = build.program()
    values = {"weight": 127, "bias": 0, "multiplier": 1 << 14, "shift": 14 + 17}
    for role, value in values.items():
        program.constant(program.nodes[0], role)[...] = value
    x = np.full((1, 64, 3, 3), 255 * program.tensors["x"].scale, np.float32)
    assert_same(program, x)
    (found,) = model.OnnxNetwork(model.model_of(program))(x)
    codes = found / np.float32(program.tensors[build.last].scale)
    assert np.allclose(codes, round(576 * 255 * 127 / 2**17))  # 142, far from the largest code


@pytest.mark.parametrize("network", NETWORKS)
def test_there_are_integers_alone_between_the_inputs_and_the_outputs(network: str):
    made = shape_inference.infer_shapes(model.model_of(NETWORKS[network]()), strict_mode=True)
    kinds = {info.name: info.type.tensor_type.elem_type for info in made.graph.value_info}
    names = [each.output[0] for each in made.graph.node]
    first = max(i for i, name in enumerate(names) if name in {f"{x.name}.codes" for x in made.graph.input}) + 1
    between = [name for name in names[first:] if name in kinds and kinds[name] in FLOATS]
    feeds = {each.output[0] for each in made.graph.node if each.op_type in ("Sub", "Cast")}
    assert len(between) <= 2 * len(made.graph.output) and set(between) <= feeds  # the values of the outputs alone


def test_a_model_survives_its_file(tmp_path: Path):
    program = residual_network()
    model.write(model.model_of(program), tmp_path / "network.onnx")
    x = drawn_inputs(program, samples=3)
    (values,) = model.OnnxNetwork(model.load(tmp_path / "network.onnx"))(*x)
    assert np.array_equal(values, Executor(program)(*x))


def test_a_file_that_is_no_model_is_refused(tmp_path: Path):
    (tmp_path / "network.onnx").write_bytes(b"no model")
    with pytest.raises(FileError, match=r"network\.onnx: is no ONNX model .*Export the run again"):
        model.load(tmp_path / "network.onnx")
    with pytest.raises(FileError, match=r"absent\.onnx: cannot be read"):
        model.load(tmp_path / "absent.onnx")


def test_another_number_of_inputs_is_refused():
    network = model.OnnxNetwork(model.model_of(residual_network()))
    with pytest.raises(UsageError, match=r"2 inputs found; 1 expected: arrays for \['x'\]"):
        network(np.zeros((1, 2, 9, 8), np.float32), np.zeros((1, 2, 9, 8), np.float32))


def test_an_operator_that_onnxruntime_lacks_is_refused_with_its_version():
    made = model.model_of(residual_network())
    made.graph.node[0].op_type = "Floored"
    with pytest.raises(UsageError, match=r"onnxruntime .* refuses the model .*pip install 'picojoule\[onnx\]'"):
        model.OnnxNetwork(made).codes(*drawn_inputs(residual_network(), samples=1))


def test_the_metadata_say_what_becomes_of_raw_examples():
    preprocessing = Preprocessing("uint8", "last", (0.5, 0.25), (0.5, 1.0))
    made = model.model_of(replace(residual_network(), preprocessing=preprocessing))
    props = {each.key: json.loads(each.value) for each in made.metadata_props}
    expected = {"dtype": "uint8", "channels": "last", "mean": [0.5, 0.25], "std": [0.5, 1.0]}
    assert props == {"preprocessing": expected, "classes": []}


def test_equal_constants_are_stored_once():
    made = model.model_of(residual_network())
    stored = [onnx.numpy_helper.to_array(each) for each in made.graph.initializer]
    assert len({(each.dtype.str, each.shape, each.tobytes()) for each in stored}) == len(stored) > 10
