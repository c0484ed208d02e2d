"""What moves codes and computes nothing: take, permute, reshape, and constants in the graph."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest

from search.integer import executor as executor_module
from search.integer.executor import Executor
from search.integer.program import Node, Program, TensorInfo
from tests.search.integer.agreement import IMAGES, assert_equals_reference, codes_of
from tests.search.integer.programs import Build

TAKEN = {
    "features, turned and twice": ((7,), [[6, 5, 0, 0, 3]]),
    "every place of features": ((7,), [[]]),
    "channels": ((5, 4), [[4, 0, 2], []]),
    "one channel, one place": ((5, 4), [[3], [2]]),
    "a slice with a step": ((2, 9), [[], [1, 3, 5, 7]]),
    "pixels twice": ((3, 2, 3), [[], [0, 0, 1, 1], [0, 0, 1, 1, 2, 2]]),
    "mirrored at the border": ((2, 3, 4), [[], [1, 0, 1, 2, 1], [2, 1, 0, 1, 2, 3, 2]]),
    "the last axis alone": ((2, 3, 4), [[], [], [3, 1]]),
    "shuffled channels": ((6, 3, 2), [[0, 3, 1, 4, 2, 5], [], []]),
    "all axes": ((4, 3, 5), [[3, 1], [2, 0, 1, 2], [4, 4, 0]]),
    "three spatial axes": ((2, 3, 2, 4), [[1, 0], [2, 0], [1, 1, 0], [3, 0, 2]]),
}


@pytest.mark.parametrize("strip", [executor_module.LARGEST_STRIP, 1], ids=["whole", "line by line"])
@pytest.mark.parametrize("case", TAKEN)
def test_take(case: str, strip: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(executor_module, "LARGEST_STRIP", strip)
    shape, indices = TAKEN[case]
    build = Build(shape)
    build.take(*indices)
    assert_equals_reference(build.program())


def test_take_by_hand():
    build = Build((2, 3))
    build.take([1, 0, 1], [2, 0])
    codes = np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)
    found = Executor(build.program())(codes, intermediate=True)[build.last]
    assert found.tolist() == [[[6, 4], [3, 1], [6, 4]]]


ORDERS = [(0,), (1, 0), *permutations(range(3)), (0, 3, 1, 2), (3, 2, 1, 0), (2, 0, 3, 1)]


@pytest.mark.parametrize("axes", ORDERS, ids=str)
def test_permute(axes: tuple[int, ...]):
    build = Build((2, 3, 4, 5)[: len(axes)])
    build.permute(*axes)
    assert_equals_reference(build.program())


def test_permute_by_hand():
    build = Build((2, 1, 3))
    build.permute(2, 0, 1)
    codes = np.array([[[[1, 2, 3]], [[4, 5, 6]]]], np.uint8)
    found = Executor(build.program())(codes, intermediate=True)[build.last]
    assert found.tolist() == [[[[1], [4]], [[2], [5]], [[3], [6]]]]


SHAPES = [((24,), (2, 3, 4)), ((2, 3, 4), (24,)), ((6, 4), (3, 8)), ((4, 6), (2, 2, 3, 2)), ((2, 3, 1, 4), (1, 24))]


@pytest.mark.parametrize("before, after", SHAPES)
def test_reshape_keeps_the_order_of_channels_first(before: tuple[int, ...], after: tuple[int, ...]):
    build = Build(before)
    build.reshape(*after)
    codes = codes_of(build.program())
    found = Executor(build.program())(codes, intermediate=True)[build.last]
    np.testing.assert_array_equal(found, codes.reshape(IMAGES, *after))
    assert_equals_reference(build.program())


@pytest.mark.parametrize("bits", [4, 8, 16])
def test_codes_of_any_width_are_moved_one_after_another(bits: int):
    """As heads of attention are split and joined."""
    build = Build((6, 4), bits)
    build.permute(1, 0)
    build.reshape(4, 2, 3)
    build.permute(1, 0, 2)
    build.take([1, 0], [], [2, 1, 0])
    build.reshape(24)
    assert_equals_reference(build.program())


@pytest.mark.parametrize("bits", [4, 8, 16])
@pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 3, 4), (2, 1, 3, 2)])
def test_a_constant_is_added_to_each_sample(shape: tuple[int, ...], bits: int):
    build = Build(shape, bits)
    build.add("x", build.constant(*shape))
    assert_equals_reference(build.program())


def test_a_constant_is_broadcast_moved_and_put_before_a_tensor():
    """As a token of a class."""
    build = Build((4, 3, 2))
    scaled = build.mul("x", build.constant(4, 1, 1))
    build.constant(2, 1, 6)
    build.reshape(4, 3, 1)
    build.permute(0, 2, 1)
    build.take([], [], [2, 0])
    token = build.last
    build.concat(1, token, scaled)
    assert_equals_reference(build.program())


@pytest.mark.parametrize("images", [0, 1, 35])
def test_a_constant_is_an_output_for_each_sample(images: int):
    info = TensorInfo((2, 3), 4, 0.5, 1)
    codes = np.arange(6, dtype=np.uint8).reshape(2, 3)
    node = Node("c", "constant", (), ("c",), {}, {"codes": "c.codes"})
    program = Program(("x",), ("c",), {"x": info, "c": info}, (node,), {"c.codes": codes}, {})
    found = Executor(program)(np.zeros((images, 2, 3), np.uint8))
    np.testing.assert_array_equal(found, np.broadcast_to(0.5 * (codes - 1.0), (images, 2, 3)))


def test_what_moves_codes_refuses_another_scale():
    build = Build((2, 3))
    for name in (build.take([1], []), build.permute(1, 0), build.reshape(3)):
        scaled = replace(build.program(), tensors={**build.tensors, name: replace(build.tensors[name], scale=1.0)})
        with pytest.raises(ValueError, match=f"'{name}'.*must have the bits, scale and zero point of its input"):
            scaled.validate()
