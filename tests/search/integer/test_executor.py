import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from search.integer import executor as executor_module
from search.integer.executor import Executor
from search.integer.packing import pack_rows
from search.integer.program import Program, TensorInfo
from tests.search.integer import reference
from tests.search.integer.agreement import IMAGES, assert_equals_reference, codes_of
from tests.search.integer.programs import Build, attention_network, residual_network, resized_network

CONVOLUTIONS = {
    "plain": ((3, 6, 5), dict(channels=4, kernel=(3, 3))),
    "pointwise": ((5, 4, 3), dict(channels=3, kernel=(1, 1))),
    "strided pointwise": ((9, 4, 5), dict(channels=3, kernel=(1, 1), stride=(2, 2))),
    "many channels": ((9, 5, 6), dict(channels=7, kernel=(3, 2), stride=(2, 1), padding=((1, 0), (1, 1)))),
    "asymmetric padding": ((2, 5, 4), dict(channels=3, kernel=(3, 3), stride=(2, 2), padding=((0, 1), (2, 0)))),
    "dilated": ((8, 9, 7), dict(channels=3, kernel=(3, 2), dilation=(2, 3), padding=((2, 2), (0, 1)))),
    "padding wider than the image": (
        (2, 2, 2),
        dict(channels=6, kernel=(2, 2), padding=((4, 4), (3, 0)), stride=(3, 1)),
    ),
    "grouped": ((6, 5, 4), dict(channels=9, kernel=(2, 3), groups=3, stride=(1, 2), padding=((1, 0), (1, 1)))),
    "grouped, long": ((16, 5, 4), dict(channels=4, kernel=(3, 3), groups=2, stride=(2, 1))),
    "depth multiplier": ((3, 5, 4), dict(channels=6, kernel=(3, 3), groups=3)),
    "depthwise": ((5, 6, 7), dict(channels=5, kernel=(3, 3), groups=5, padding=((1, 1), (1, 1)))),
    "depthwise, strided": (
        (4, 6, 7),
        dict(channels=4, kernel=(3, 2), groups=4, stride=(2, 2), padding=((0, 1), (1, 1))),
    ),
    "depthwise, dilated": ((4, 7, 8), dict(channels=4, kernel=(2, 3), groups=4, dilation=(3, 2), stride=(1, 3))),
    "one dimension": ((4, 12), dict(channels=3, kernel=(4,), stride=(2,), dilation=(2,), padding=((3, 0),))),
    "one dimension, depthwise": ((4, 12), dict(channels=4, kernel=(4,), groups=4, padding=((3, 0),))),
    "three dimensions": (
        (9, 4, 3, 5),
        dict(channels=2, kernel=(2, 2, 3), stride=(1, 2, 2), padding=((1, 0), (0, 1), (1, 1))),
    ),
    "three dimensions, depthwise": ((2, 4, 3, 5), dict(channels=2, kernel=(2, 1, 3), groups=2, stride=(2, 1, 1))),
    "widths": ((3, 4, 4), dict(channels=7, kernel=(3, 1), widths=(2, 3, 4, 5, 6, 7, 8))),
    "widths, depthwise": ((3, 4, 4), dict(channels=3, kernel=(3, 3), groups=3, widths=(8, 2, 5))),
    "three bits": ((3, 4, 4), dict(channels=5, kernel=(3, 3), widths=3)),
}


@pytest.mark.parametrize("table", [False, True], ids=["clip", "table"])
@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_convolution(case: str, table: bool):
    shape, arguments = CONVOLUTIONS[case]
    build = Build(shape)
    build.table = table
    build.conv(**arguments)
    assert_equals_reference(build.program())


@pytest.mark.parametrize("shape", [(7,), (2, 7), (2, 3, 7)])
@pytest.mark.parametrize("bits", [4, 8])
def test_linear(shape: tuple[int, ...], bits: int):
    build = Build(shape, bits)
    build.linear(5)
    assert_equals_reference(build.program())


@pytest.mark.parametrize("op", ["add", "mul"])
@pytest.mark.parametrize("bits", [4, 8, 16])
def test_two_inputs_of_one_shape(op: str, bits: int):
    build = Build((3, 4, 5), bits)
    first = build.conv(3, (1, 1))
    build.last = "x"
    getattr(build, op)(first, build.conv(3, (3, 3), padding=((1, 1), (1, 1))))
    assert_equals_reference(build.program())


@pytest.mark.parametrize("op", ["add", "mul"])
def test_two_inputs_broadcast_both_ways(op: str):
    build = Build((3, 4, 5))
    column = build.conv(1, (1, 5))  # (1, 4, 1)
    build.last = "x"
    row = build.pool("max_pool", (4, 1))  # (3, 1, 5)
    grid = getattr(build, op)(column, row)
    build.last = "x"
    getattr(build, op)(grid, build.pool("avg_pool", (4, 5)))  # (3, 1, 1)
    assert_equals_reference(build.program())


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("table", [False, True], ids=["clip", "table"])
def test_concat(axis: int, table: bool):
    build = Build((3, 4, 5))
    build.table = table
    names = ["x"]
    for _ in range(2):
        build.last = "x"
        names.append(build.conv(3, (1, 1)))
    build.concat(axis, *names)
    assert_equals_reference(build.program())


def test_concat_of_features():
    build = Build((6,))
    build.concat(0, "x", build.linear(4))
    assert_equals_reference(build.program())


@pytest.mark.parametrize("op", ["max_pool", "avg_pool"])
@pytest.mark.parametrize(
    "shape, kernel, window",
    [
        ((3, 6, 5), (2, 2), dict(stride=(2, 2))),
        ((2, 6, 5), (3, 2), dict(stride=(2, 1), padding=((1, 1), (0, 1)))),
        ((2, 5, 4), (5, 4), {}),
        ((3, 9), (3,), dict(stride=(2,), padding=((2, 0),))),
        ((2, 4, 5, 3), (2, 2, 3), dict(stride=(1, 2, 1), padding=((0, 0), (1, 1), (1, 1)))),
        ((2, 7, 6), (3, 2), dict(dilation=(2, 3))),
    ],
)
def test_pools(op: str, shape: tuple[int, ...], kernel: tuple[int, ...], window: dict):
    build = Build(shape)
    build.pool(op, kernel, **window)
    assert_equals_reference(build.program())


@pytest.mark.parametrize("bits", [2, 4, 8, 12])
def test_standalone_table(bits: int):
    build = Build((3, 4), bits)
    build.lookup()
    assert_equals_reference(build.program())


@pytest.mark.parametrize("bits", [2, 5, 8, 12, 16])
@pytest.mark.parametrize("seed", range(4))
def test_whole_network(bits: int, seed: int):
    assert_equals_reference(residual_network(bits, seed))


@pytest.mark.parametrize(
    "network, bits", [(attention_network, 3), (attention_network, 12), (resized_network, 3), (resized_network, 8)]
)
def test_attention_and_resized_maps(network: Callable[..., Program], bits: int):
    assert_equals_reference(network(bits, seed=1))


def test_one_constant_serves_two_nodes():
    build = Build((4, 5, 5))
    build.conv(4, (3, 3), padding=((1, 1), (1, 1)))
    first = build.nodes[0]
    build.tensors["again"] = build.tensors[first.output]
    build.nodes.append(replace(first, name="again", inputs=(first.output,), outputs=("again",)))
    build.last = "again"
    assert_equals_reference(build.program())


@pytest.mark.parametrize("shape", [(600, 3, 3), (600,)])
def test_sums_beyond_float32_are_exact(shape: tuple[int, ...]):
    """600 products of 255 * 127 pass 2^24; a multiplier of almost 1/2 keeps the last bit of the sum in sight."""
    build = Build(shape, zero_point=0)
    if len(shape) > 1:
        build.conv(2, (1, 1))
    else:
        build.linear(2)
    name = build.last
    build.constants[f"{name}.weight"] = pack_rows(np.full((2, 600), 127), np.full(2, 8, np.uint8))
    build.constants[f"{name}.bias"] = np.array([-600 * 127 * 255, -599 * 127 * 255], np.int32)
    build.constants[f"{name}.multiplier"] = np.array([32767, 32767], np.int16)
    build.constants[f"{name}.shift"] = np.array([16, 16], np.uint8)
    codes = np.full((300, *shape), 255, np.uint8)
    codes.reshape(300, 600, -1)[np.arange(300), np.arange(300)] -= (np.arange(300) % 7).astype(np.uint8)[:, None]
    found = Executor(build.program())(codes, intermediate=True)[name]
    for index in (0, 1, 2, 3, 4, 5, 6, 299):
        np.testing.assert_array_equal(found[index], reference.run(build.program(), codes[index])[name].astype(int))


@pytest.mark.parametrize("images", [0, 1, 2, 16, 17, 35])
def test_batches_and_threads_do_not_matter(images: int):
    program = residual_network()
    codes = codes_of(program, images)
    together, alone = Executor(program)(codes), Executor(program, threads=1)
    assert together.shape == (images, 10) and together.dtype == np.float32
    assert all(np.array_equal(alone(codes[i : i + 1])[0], together[i]) for i in range(images))


def test_strips_do_not_matter(monkeypatch: pytest.MonkeyPatch):
    program = residual_network()
    codes = codes_of(program)
    whole = Executor(program)(codes, intermediate=True)
    monkeypatch.setattr(executor_module, "LARGEST_STRIP", 1)
    lines = Executor(program)(codes, intermediate=True)
    assert all(np.array_equal(lines[name], whole[name]) for name in whole)


def test_output_may_be_a_tensor_inside():
    program = residual_network()
    codes = codes_of(program)
    inner = replace(program, outputs=program.nodes[2].outputs)
    info = inner.tensors[inner.outputs[0]]
    expected = Executor(program)(codes, intermediate=True)[inner.outputs[0]].astype(np.float32) - np.float32(
        info.zero_point
    )
    np.testing.assert_array_equal(Executor(inner)(codes), np.float32(info.scale) * expected)


def test_output_is_the_scaled_code():
    program = residual_network()
    codes = codes_of(program)
    info = program.tensors[program.outputs[0]]
    last = Executor(program)(codes, intermediate=True)[program.outputs[0]].astype(np.float32)
    expected = np.float32(info.scale) * (last - np.float32(info.zero_point))
    np.testing.assert_array_equal(Executor(program)(codes), expected)


def test_real_input_is_quantized_half_up_in_float32():
    build = Build((8,), zero_point=3)
    build.tensors["x"] = TensorInfo((8,), 8, 0.5, 3)
    x = np.array([[0.25, -0.25, 0.2499, -0.75, 1e30, -1e30, 3.4e38, -1.5]], np.float32)
    found = Executor(build.program())(x, intermediate=True)["x"]
    np.testing.assert_array_equal(found, [[4, 3, 3, 2, 255, 0, 255, 0]])


def test_real_input_in_either_precision_and_order():
    program = residual_network()
    x = np.random.default_rng(0).normal(0, 3, (IMAGES, 2, 9, 8)).astype(np.float32)
    expected = Executor(program)(x)
    np.testing.assert_array_equal(Executor(program)(x.astype(np.float64)), expected)
    np.testing.assert_array_equal(Executor(program)(np.asfortranarray(x)), expected)


@pytest.mark.parametrize(
    "x, message",
    [
        (np.zeros((2, 3, 9, 8), np.float32), r"\(2, 3, 9, 8\) found; \(n, 2, 9, 8\) expected"),
        (np.zeros((2, 9, 8), np.float32), r"\(2, 9, 8\) found"),
        (np.zeros((1, 2, 9, 8), np.int64), "int64 found; floating point, or uint8 codes"),
        (np.zeros((1, 2, 9, 8), np.uint16), "uint16 found"),
        (np.full((1, 2, 9, 8), np.nan, np.float32), "NaN or infinity"),
        (np.full((20, 2, 9, 8), -np.inf), "NaN or infinity"),
        (np.full((1, 2, 9, 8), 1e300), "NaN or infinity"),
        (np.full((1, 2, 9, 8), 16, np.uint8), "code 16 found; 4 bits hold 0..15"),
    ],
)
def test_refuses(x: np.ndarray, message: str):
    with pytest.raises(ValueError, match=message):
        Executor(residual_network(bits=4))(x)


def test_numpy_settings_are_left_alone():
    before = np.getbufsize()
    Executor(residual_network(), threads=1)(codes_of(residual_network()))
    assert np.getbufsize() == before


def test_runs_without_torch():
    code = "import sys; import search.integer.executor; assert 'torch' not in sys.modules, 'torch was imported'"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def two_inputs_two_outputs() -> Program:
    """left, right (3, 4) -> their sum, and a linear layer over it."""
    build = Build((3, 4))
    build.tensors["right"] = replace(build.tensors["x"], scale=0.2, zero_point=7)
    total = build.add("x", "right")
    build.linear(5)
    program = build.program()
    return replace(program, inputs=("x", "right"), outputs=(total, build.last))


def test_several_inputs_and_outputs_by_order_and_by_name():
    program, rng = two_inputs_two_outputs(), np.random.default_rng(0)
    left, right = (rng.normal(size=(20, 3, 4)) for _ in range(2))
    run = Executor(program)
    by_order, by_name = run(left, right), run({"right": right, "x": left})
    every = run(left, right, intermediate=True)
    assert len(by_order) == 2 and every.keys() == {"x", "right", *program.outputs}
    for name, first, second in zip(program.outputs, by_order, by_name, strict=True):
        np.testing.assert_array_equal(first, second)
        info = program.tensors[name]
        expected = np.float32(info.scale) * (every[name].astype(np.float32) - np.float32(info.zero_point))
        np.testing.assert_array_equal(first, expected)
    swapped = run(right, left)
    assert not np.array_equal(swapped[0], by_order[0])


@pytest.mark.parametrize(
    "given, message",
    [
        ((np.zeros((1, 3, 4)),), r"1 inputs found; 2 expected: arrays for \['x', 'right'\]"),
        ((np.zeros((1, 3, 4)), np.zeros((2, 3, 4))), r"different numbers of samples found, \{'x': 1, 'right': 2\}"),
        ((np.zeros((1, 3, 4)), np.zeros((1, 4, 3))), r"input 'right': shape \(1, 4, 3\) found"),
        (({"x": np.zeros((1, 3, 4))},), r"inputs \['x'\] found; \['x', 'right'\] expected"),
    ],
)
def test_inputs_that_do_not_fit_are_named(given, message):
    with pytest.raises(ValueError, match=message):
        Executor(two_inputs_two_outputs())(*given)


def test_what_is_no_array_is_refused_by_its_type():
    with pytest.raises(ValueError, match="input 'x': list found; a NumPy array expected"):
        Executor(residual_network())([[1.0]])
