"""Raw examples become the codes that they had in training, and what cannot be one is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from search.data import from_arrays
from search.errors import UsageError
from search.integer.executor import Executor
from search.integer.graph import ProgramError, TensorInfo
from search.integer.preprocessing import FIRST, LAST, NONE, Grid, Preprocessing
from search.integer.program import Program
from tests.search.integer.programs import Build

RNG = np.random.default_rng(0)
PLAIN = Preprocessing("uint8", FIRST, (100 / 255,), (0.25,))


def info(shape: tuple[int, ...], scale: float = 0.02, zero_point: int = 100, bits: int = 8) -> TensorInfo:
    return TensorInfo(shape, bits, scale, zero_point)


def classifier() -> Program:
    build = Build((2, 6, 5))
    build.conv(4, (3, 3), stride=(2, 2))
    height, width = build.tensors[build.last].shape[1:]
    build.pool("avg_pool", (height, width))
    build.reshape(4)
    build.linear(3)
    return replace(
        build.program(), preprocessing=Preprocessing("uint8", LAST, (0.5, 0.4), (0.2, 0.3)), classes=("a", "b", "c")
    )


def test_codes_by_hand():
    # (0, 100, 255) / 255 less 100 / 255 by 0.25, in steps of 0.02: -78.43, 0 and 121.57, from the zero point 100
    raw = np.array([[[0, 100, 255]]], np.uint8)
    assert PLAIN.codes(raw, info((1, 3))).tolist() == [[[22, 100, 222]]]


@pytest.mark.parametrize(
    "channels, shape, axes", [(FIRST, (2, 4, 3), (0, 1, 2, 3)), (LAST, (4, 3, 2), (0, 2, 3, 1)), (NONE, (4, 3), None)]
)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_codes_are_those_of_training_wherever_the_channels_are(channels, shape, axes, dtype):
    first = RNG.integers(0, 256, (5, 1 if axes is None else 2, 4, 3)).astype(dtype)
    raw = first[:, 0] if axes is None else first.transpose(axes)
    data = from_arrays(
        {"x_train": raw, "y_train": np.array([0, 1, 0, 1, 0]), "x_val": raw, "y_val": np.arange(5) % 2,
         "x_test": raw, "y_test": np.arange(5) % 2},
        has_channels=axes is not None,
        channels_last=channels == LAST,
        mean=[0.3], std=[0.7],
    )  # fmt: skip
    assert data.preprocessing.channels == channels
    assert data.preprocessing.raw_shape(data.input_shape) == shape
    place = info(data.input_shape)
    normalised = data.normalise(torch.from_numpy(first)).numpy()
    np.testing.assert_array_equal(data.preprocessing.normalised(first), normalised)
    expected = np.clip(np.floor(normalised / np.float32(0.02) + np.float32(0.5)) + 100, 0, 255)
    np.testing.assert_array_equal(data.preprocessing.codes(raw, place), expected)


@pytest.mark.parametrize("pixel", [0, 1, 73, 128, 255])
@pytest.mark.parametrize("std", [1e-3, 0.2260, 1 / 3, 1.0, 40.0])
def test_on_its_grid_every_byte_is_its_own_code(pixel, std):
    made = Preprocessing("uint8", NONE, (pixel / 255,), (std,))
    assert made.grid == Grid(1 / (255 * std), pixel)
    place = info((1, 16, 16), np.float32(made.grid.step), made.grid.zero_point)
    raw = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    assert made.takes_bytes(place)
    np.testing.assert_array_equal(made.codes(raw, place)[:, 0], raw)


def test_there_is_no_grid_for_floats_or_channels_that_are_normalised_by_themselves():
    assert replace(PLAIN, dtype="float32").grid is None
    assert replace(PLAIN, mean=(0.4512,)).grid is None
    assert Preprocessing("uint8", LAST, (0.2, 0.4), (0.3, 0.3)).grid is None
    assert Preprocessing("uint8", LAST, (0.2, 0.2), (0.3, 0.4)).grid is None
    assert Preprocessing("uint8", LAST, (-0.2,), (0.3,)).grid is None
    assert not PLAIN.takes_bytes(info((1, 3))) and not PLAIN.takes_bytes(info((1, 3), bits=4))


def test_predict_names_classes_of_one_example_and_of_several():
    program = classifier()
    raw = RNG.integers(0, 256, (9, 6, 5, 2)).astype(np.uint8)
    found, executor = Executor(program).predict(raw), Executor(program)
    place = program.tensors["x"]
    expected = executor(program.preprocessing.codes(raw, place)).argmax(1)
    assert found.dtype == np.int64 and found.tolist() == expected.tolist() and len(set(found.tolist())) > 1
    assert executor.predict(raw[3]) == found[3] and executor.predict(raw[3]).shape == ()
    floats = executor(program.preprocessing.normalised(raw.transpose(0, 3, 1, 2)))
    np.testing.assert_array_equal(executor(program.preprocessing.codes(raw, place)), floats)
    np.testing.assert_array_equal(Executor(replace(program, classes=())).predict(raw), floats)


def test_what_is_no_raw_example_is_refused():
    executor = Executor(classifier())
    with pytest.raises(UsageError, match=r"shape \(9, 2, 6, 5\) found; a NumPy array of shape \(n, 6, 5, 2\)"):
        executor.predict(np.zeros((9, 2, 6, 5), np.uint8))
    with pytest.raises(UsageError, match="float64 found; uint8, 0 to 255, expected"):
        executor.predict(np.zeros((9, 6, 5, 2)))
    with pytest.raises(UsageError, match="list found"):
        executor.predict([[1]])
    with pytest.raises(UsageError, match="has no preprocessing"):
        Executor(replace(executor.program, preprocessing=None)).predict(np.zeros((9, 6, 5, 2), np.uint8))
    floats = replace(executor.program, preprocessing=Preprocessing("float32", FIRST, (0.0, 0.0), (1.0, 1.0)))
    with pytest.raises(UsageError, match="complex128 found; real numbers"):
        Executor(floats).predict(np.zeros((9, 2, 6, 5), complex))


def test_a_file_keeps_preprocessing_and_classes(tmp_path: Path):
    program = classifier()
    program.save(tmp_path / "program.safetensors")
    loaded = Program.load(tmp_path / "program.safetensors")
    assert loaded.preprocessing == program.preprocessing and loaded.classes == program.classes


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"mean": (0.5,)}, "1 means and 2 deviations found; the input has 2 channels"),
        ({"std": (0.5, 0.0)}, r"std \[0.5, 0.0\] found; float32 must hold them, std over 0"),
        ({"mean": (1e300, 0.0)}, "float32 must hold them"),
        ({"channels": NONE}, "without channels found; the input has 2"),
    ],
)
def test_a_preprocessing_that_does_not_fit_is_refused(changes, message):
    program = classifier()
    with pytest.raises(ProgramError, match=message):
        replace(program, preprocessing=replace(program.preprocessing, **changes)).validate()


def test_classes_that_the_output_does_not_score_are_refused():
    with pytest.raises(ProgramError, match=r"classes \['a'\] found; output 'linear3' scores 3"):
        replace(classifier(), classes=("a",)).validate()
