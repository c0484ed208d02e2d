"""Resampled maps and transposed convolutions against the specification."""

import numpy as np
import pytest

from search.integer.executor import Executor
from search.integer.packing import pack_rows
from tests.search.integer.agreement import assert_equals_reference
from tests.search.integer.programs import Build

HALVES = [(0, [4]), (0, [3, 1]), (0, [1, 3]), (1, [3, 1]), (1, [1, 3]), (2, [4])]  # 3 to 6 elements, linear
CUBIC = [(0, [131, -3]), (0, [-9, 111, 29, -3]), (0, [-3, 29, 111, -9]), (2, [-3, 131])]  # 4 to 4, with overshoot
MEANS = [(0, [3, 3]), (1, [2, 2, 2]), (3, [6])]  # of windows of several sizes, which overlap
RESAMPLED = {
    "one axis": ((3, 3), [HALVES]),
    "negative weights": ((2, 4), [CUBIC]),
    "two axes": ((2, 3, 4), [HALVES, CUBIC]),
    "windows that differ": ((2, 4, 3), [MEANS, HALVES]),
    "one place of all": ((3, 4, 3), [[(0, [1, 1, 1, 1])], [(0, [1, 1, 1])]]),
    "elements that nothing takes": ((2, 5, 9), [[(1, [1]), (3, [1])], [(8, [2]), (0, [1, 1])]]),
    "three axes": ((2, 3, 4, 2), [HALVES, MEANS, [(0, [1, 1])]]),
    "features, which have no axes": ((5,), []),
}


@pytest.mark.parametrize("bits, table", [(4, False), (8, False), (16, False), (8, True)])
@pytest.mark.parametrize("case", RESAMPLED)
def test_resample(case: str, bits: int, table: bool):
    shape, rows = RESAMPLED[case]
    build = Build(shape, bits)
    build.table = table
    build.resample(*rows)
    assert_equals_reference(build.program())


@pytest.mark.parametrize("zero_point", [0, 1, 255])
def test_resample_at_every_zero_point(zero_point: int):
    build = Build((2, 3, 4), zero_point=zero_point)
    build.resample(HALVES, CUBIC)
    assert_equals_reference(build.program())


def test_resample_by_hand():
    """(40, 80) of zero point 20: the sums 4 * 20, 3 * 20 + 60, 20 + 3 * 60, 4 * 60, over 4."""
    build = Build((1, 2), zero_point=20)
    name = build.resample([(0, [4]), (0, [3, 1]), (0, [1, 3]), (1, [4])])
    build.constants |= {f"{name}.multiplier": np.array([1 << 14], np.int16), f"{name}.shift": np.array([16], np.uint8)}
    found = Executor(build.program())(np.array([[[40, 80]]], np.uint8), intermediate=True)[name]
    assert found.tolist() == [[[40, 50, 70, 80]]]


def test_sums_of_a_resampled_map_beyond_float32_are_exact():
    """The heavy weight passes 2^24; the light one is in sight as a clip's distance from it."""
    build = Build((1, 2), zero_point=0)
    name = build.resample([(0, [1 << 22, 1])])
    build.constants |= {f"{name}.multiplier": np.array([1 << 14], np.int16), f"{name}.shift": np.array([14], np.uint8)}
    build.nodes[-1].attributes["zero_point"] = -(255 << 22)
    codes = np.stack([np.full(256, 255), np.arange(256)], 1).astype(np.uint8)[:, None]
    found = Executor(build.program())(codes, intermediate=True)[name]
    assert found[:, 0, 0].tolist() == list(range(256))


TRANSPOSED = {
    "plain": ((3, 4, 3), dict(channels=2, kernel=(3, 3))),
    "twice the size": ((4, 3, 4), dict(channels=3, kernel=(4, 4), stride=(2, 2), padding=((2, 2), (2, 2)))),
    "an odd size": ((4, 3, 4), dict(channels=3, kernel=(3, 3), stride=(2, 2), padding=((1, 2), (1, 1)))),
    "pixels side by side": ((5, 3, 2), dict(channels=4, kernel=(2, 2), stride=(2, 2), padding=((1, 1), (1, 1)))),
    "gaps between pixels": ((3, 3, 2), dict(channels=2, kernel=(2, 1), stride=(3, 2), padding=((1, 1), (0, 2)))),
    "strides that differ": ((9, 3, 4), dict(channels=2, kernel=(3, 2), stride=(1, 3), padding=((2, 2), (1, 0)))),
    "pointwise": ((5, 2, 3), dict(channels=3, kernel=(1, 1), stride=(2, 2))),
    "dilated": ((3, 4, 3), dict(channels=2, kernel=(2, 3), stride=(2, 1), dilation=(3, 2), padding=((3, 3), (4, 4)))),
    "one pixel": ((4, 1, 1), dict(channels=3, kernel=(3, 3), stride=(5, 5), padding=((2, 2), (2, 2)))),
    "grouped": ((6, 3, 3), dict(channels=9, kernel=(3, 2), groups=3, stride=(2, 2), padding=((2, 2), (1, 1)))),
    "depthwise": ((4, 3, 3), dict(channels=4, kernel=(3, 3), groups=4, stride=(2, 2), padding=((2, 2), (2, 2)))),
    "depth multiplier": ((2, 3, 3), dict(channels=6, kernel=(2, 2), groups=2, stride=(2, 1), padding=((1, 1), (1, 1)))),
    "one dimension": ((4, 7), dict(channels=3, kernel=(4,), stride=(3,), padding=((3, 2),))),
    "one dimension, depthwise": ((4, 7), dict(channels=4, kernel=(4,), groups=4, stride=(2,), padding=((3, 3),))),
    "three dimensions": (
        (3, 2, 3, 2),
        dict(channels=2, kernel=(2, 3, 2), stride=(2, 1, 2), padding=((1, 1), (2, 2), (1, 1))),
    ),
    "widths": ((3, 3, 3), dict(channels=7, kernel=(2, 2), stride=(2, 2), widths=(2, 3, 4, 5, 6, 7, 8))),
    "widths, depthwise": ((3, 4, 4), dict(channels=3, kernel=(3, 3), groups=3, stride=(2, 2), widths=(8, 2, 5))),
}


@pytest.mark.parametrize("table", [False, True], ids=["clip", "table"])
@pytest.mark.parametrize("case", TRANSPOSED)
def test_transposed_convolution(case: str, table: bool):
    shape, arguments = TRANSPOSED[case]
    build = Build(shape)
    build.table = table
    build.conv_transpose(**arguments)
    assert_equals_reference(build.program())


@pytest.mark.parametrize("bits, zero_point", [(4, 5), (8, 0), (8, 255), (16, 1000)])
def test_transposed_convolution_of_other_codes(bits: int, zero_point: int):
    build = Build((3, 3, 4), bits, zero_point)
    build.conv_transpose(4, (3, 3), stride=(2, 2), padding=((2, 2), (2, 1)), widths=4)
    assert_equals_reference(build.program())


def test_transposed_convolution_by_hand():
    """(7, 9) of zero point 5 with stride 2 is (2, 0, 4), and 0 around it; the weights are (3, 1) from left to right."""
    build = Build((1, 2), zero_point=5)
    name = build.conv_transpose(1, (2,), stride=(2,), padding=((1, 1),))
    build.constants[f"{name}.weight"] = pack_rows(np.array([[3, 1]]), np.array([8], np.uint8))
    build.constants[f"{name}.bias"] = np.array([-5 * (3 + 1)], np.int32)
    build.constants |= {f"{name}.multiplier": np.array([1 << 14], np.int16), f"{name}.shift": np.array([14], np.uint8)}
    found = Executor(build.program())(np.array([[[7, 9]]], np.uint8), intermediate=True)[name]
    assert found.tolist() == [[[5 + 2 * 1, 5 + 2 * 3, 5 + 4 * 1, 5 + 4 * 3]]]
