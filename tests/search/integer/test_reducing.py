"""Products of two tensors, softmax and norms against the specification, and by hand."""

from dataclasses import replace

import numpy as np
import pytest

from search.integer.executor import Executor
from search.integer.reducing import over_root
from tests.search.integer import reference
from tests.search.integer.agreement import assert_equals_reference, codes_of
from tests.search.integer.programs import Build, attention_network


def two_tensors(left: tuple[int, ...], right: tuple[int, ...], bits: int = 8, table: bool = False) -> Build:
    """x of shape `left`, and `right` as a constant, of another zero point."""
    build = Build(left, bits)
    build.zero_point = (1 << bits) // 2
    build.constant(*right)
    build.table = table
    return build


ORDERS = {
    (2, 1): ((2, 3, 5), (2, 5, 4)),
    (2, 2): ((2, 3, 5), (2, 4, 5)),  # keys and queries
    (1, 1): ((2, 5, 3), (2, 5, 4)),
    (1, 2): ((2, 5, 3), (2, 4, 5)),
}


@pytest.mark.parametrize("bits, table", [(4, False), (8, False), (12, False), (8, True)])
@pytest.mark.parametrize("axes", ORDERS, ids=str)
def test_matmul(axes: tuple[int, int], bits: int, table: bool):
    build = two_tensors(*ORDERS[axes], bits, table)
    build.matmul("x", build.last, axes)
    assert_equals_reference(build.program())


@pytest.mark.parametrize("shapes", [((1, 1, 6), (1, 6, 1)), ((4, 3, 1), (4, 1, 2)), ((1, 7, 2), (1, 2, 1))], ids=str)
def test_matmul_of_single_rows_columns_and_products(shapes: tuple[tuple[int, ...], tuple[int, ...]]):
    build = two_tensors(*shapes)
    build.matmul("x", build.last)
    assert_equals_reference(build.program())


def test_matmul_of_a_tensor_and_itself():
    build = Build((3, 4, 5))
    build.matmul("x", "x", (2, 2))
    assert_equals_reference(build.program())


def test_matmul_by_hand():
    """(1 2) by (3 4 / 5 6) is (13 16), with zero points 10 and 20."""
    build = Build((1, 1, 2), zero_point=10)
    build.zero_point = 20
    name = build.matmul("x", build.constant(1, 2, 2))
    build.constants["constant0.codes"] = np.array([[[23, 24], [25, 26]]], np.uint8)
    build.constants |= {f"{name}.multiplier": np.array([1 << 14], np.int16), f"{name}.shift": np.array([14], np.uint8)}
    found = Executor(build.program())(np.array([[[[11, 12]]]], np.uint8), intermediate=True)[name]
    assert found.tolist() == [[[[20 + 13, 20 + 16]]]]


def test_sums_of_a_matmul_beyond_float32_are_exact():
    """600 products of 255 * 255 pass 2^24; the last one is in sight."""
    build = Build((1, 1, 600), zero_point=0)
    build.zero_point = 0
    name = build.matmul("x", build.constant(1, 600, 1))
    build.constants["constant0.codes"] = np.array([255] * 599 + [1], np.uint8).reshape(1, 600, 1)
    build.constants |= {f"{name}.multiplier": np.array([1 << 14], np.int16), f"{name}.shift": np.array([14], np.uint8)}
    build.nodes[-1].attributes["zero_point"] = -599 * 255 * 255
    codes = np.full((256, 1, 1, 600), 255, np.uint8)
    codes[..., 599] = np.arange(256)[:, None, None]
    found = Executor(build.program())(codes, intermediate=True)[name]
    assert found.reshape(-1).tolist() == list(range(256))


@pytest.mark.parametrize("bits", [4, 8, 12, 16])
@pytest.mark.parametrize("shape, axis", [((9,), 0), ((3, 4), 0), ((3, 4), 1), ((2, 3, 4), 2), ((2, 3, 2, 3), 1)])
def test_softmax(shape: tuple[int, ...], axis: int, bits: int):
    build = Build(shape, bits)
    build.softmax(axis)
    assert_equals_reference(build.program())


@pytest.mark.parametrize("before, after", [(4, 8), (8, 4), (8, 16), (12, 8)])
def test_softmax_from_one_width_to_another(before: int, after: int):
    build = Build((3, 5), before)
    build.bits = after
    build.softmax(1)
    assert_equals_reference(build.program())


def test_softmax_of_a_thousand_codes():
    build = Build((1000,), bits=16)
    build.softmax(0)
    assert_equals_reference(build.program())


def test_softmax_by_hand():
    """With exponentials 2^15, 2^14, 2^13, .. the codes 3 2 1 1 have 4/8 2/8 1/8 1/8, and codes alike have equal shares.

    Nothing is as large as 1, whose code there is not.
    """
    build = Build((4, 3), bits=3)
    name = build.softmax(0)
    build.constants[f"{name}.exponentials"] = np.array([1 << (15 - d) for d in range(8)], np.uint16)
    codes = np.array([[3, 2, 1, 1], [6, 6, 6, 6], [0, 7, 0, 0]], np.uint8).T[None]
    found = Executor(build.program())(codes, intermediate=True)[name]
    assert found[0].T.tolist() == [[4, 2, 1, 1], [2, 2, 2, 2], [0, 7, 0, 0]]
    assert build.program().tensors[name].scale == 1 / 8


def test_softmax_of_one_element_is_the_largest_code():
    build = Build((3, 1, 2))
    build.softmax(1)
    assert (Executor(build.program())(codes_of(build.program()), intermediate=True)[build.last] == 255).all()


NORMALIZED = {
    "channels of each pixel": ((6, 3, 2), dict(axes=(0,))),
    "maps": ((3, 4, 5), dict(axes=(1, 2))),
    "channels and maps": ((3, 4, 5), dict(axes=(0, 1, 2))),
    "groups of channels": ((6, 2, 3), dict(axes=(0, 1, 2), groups=3)),
    "groups of each pixel": ((6, 2, 3), dict(axes=(0,), groups=2)),
    "as many groups as channels": ((4, 2, 3), dict(axes=(0, 1, 2), groups=4)),
    "the last axis of tokens": ((3, 8), dict(axes=(1,))),
    "one axis of a map": ((2, 4, 5), dict(axes=(2,))),
    "three spatial axes": ((4, 2, 3, 2), dict(axes=(0, 1, 2, 3), groups=2)),
    "features": ((12,), dict(axes=(0,))),
    "features in groups": ((12,), dict(axes=(0,), groups=3)),
    "not centred": ((6, 3, 2), dict(axes=(0,), centred=False)),
    "features, not centred": ((12,), dict(axes=(0,), centred=False)),
    "axes in another order": ((3, 4, 5), dict(axes=(2, 1))),
    "a large eps": ((6, 3), dict(axes=(0,), eps=10.0)),
    "an eps beyond 60 bits": ((6, 3), dict(axes=(0,), eps=1e300)),
    "no eps": ((6, 3), dict(axes=(0, 1), eps=0.0)),
}


def normalized(case: str, bits: int = 8, zero_point: int | None = None) -> Build:
    shape, arguments = NORMALIZED[case]
    build = Build(shape, bits, zero_point)
    arguments = dict(arguments)
    build.normalize(*arguments.pop("axes"), **arguments)
    return build


@pytest.mark.parametrize("bits", [4, 8, 16])
@pytest.mark.parametrize("case", NORMALIZED)
def test_normalize(case: str, bits: int):
    assert_equals_reference(normalized(case, bits).program())


@pytest.mark.parametrize("zero_point", [0, 255])
@pytest.mark.parametrize("case", ["groups of channels", "not centred"])
def test_normalize_at_the_outermost_zero_points(case: str, zero_point: int):
    assert_equals_reference(normalized(case, zero_point=zero_point).program())


def test_normalize_with_an_activation_behind_it():
    build = Build((6, 3, 2))
    build.table = True
    build.normalize(0, 1, 2, groups=3)
    assert_equals_reference(build.program())


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("centred", [True, False])
def test_normalize_of_thousands_of_elements(bits: int, centred: bool):
    build = Build((4, 40, 30), bits)
    build.normalize(0, 1, 2, centred=centred)
    assert_equals_reference(build.program(), codes_of(build.program(), images=1))


@pytest.mark.parametrize("code", [0, 85, 255])
@pytest.mark.parametrize("case", NORMALIZED)
def test_without_variance_a_centred_norm_gives_its_bias(case: str, code: int):
    build = normalized(case)
    shape = (1, *build.tensors["x"].shape)
    assert_equals_reference(
        build.program(), np.concatenate([np.full(shape, code, np.uint8), codes_of(build.program())])
    )
    if NORMALIZED[case][1].get("centred", True) or code == build.tensors["x"].zero_point:
        found = Executor(build.program())(np.full(shape, code, np.uint8), intermediate=True)[build.last][0]
        assert all(len(np.unique(channel)) == 1 for channel in found)
        node, program = build.nodes[-1], build.program()
        bias, multiplier, shift = (program.constant(node, role)[0] for role in ("bias", "multiplier", "shift"))
        expected = reference.requantize(int(bias), int(multiplier), int(shift)) + build.zero_point
        assert found.reshape(-1)[0] == min(max(expected, 0), 255)


def test_normalize_by_hand():
    """1 1 3 3 with eps 3: R = 4, the sum 8, W = 4 * 20 - 64 + 16 * 3 = 64 and d = -4, 4, so that d / sqrt(W) = -+1/2.

    Not centred, with eps 11: W = 80 + 16 * 11 = 256 and d = 4, 12, so that it is 1/4 and 3/4.
    """
    for centred, eps, halves in ((True, 3.0, (-2, -2, 2, 2)), (False, 11.0, (1, 1, 3, 3))):
        build = Build((4,), zero_point=0)
        build.tensors["x"] = replace(build.tensors["x"], scale=1.0)
        build.zero_point = 100
        name = build.normalize(0, centred=centred, eps=eps)
        build.constants |= {
            f"{name}.bias": np.array([0, 1 << 14, 0, 1 << 14], np.int32),  # a quarter
            f"{name}.multiplier": np.full(4, 1 << 14, np.int16),
            f"{name}.shift": np.full(4, 14 + 14 - 3, np.uint8),  # a quarter is 8 codes
        }
        found = Executor(build.program())(np.array([[1, 1, 3, 3]], np.uint8), intermediate=True)[name]
        assert found[0].tolist() == [100 + 8 * (half + more) for half, more in zip(halves, (0, 1, 0, 1), strict=True)]


def test_a_small_eps_does_not_count_for_codes_of_few_bits():
    """0 0 0 1: W = 4 - 1 = 3, so that the value of the last is 3 / sqrt(3), of which an eps of 1 would take 13%."""
    build = Build((4,), bits=2, zero_point=0)
    build.bits, build.zero_point = 8, 100
    name = build.normalize(0, eps=1e-5)
    build.constants |= {
        f"{name}.bias": np.zeros(4, np.int32),
        f"{name}.multiplier": np.full(4, 1 << 14, np.int16),
        f"{name}.shift": np.full(4, 14 + 16 - 6, np.uint8),  # 1 is 64 codes
    }
    found = Executor(build.program())(np.array([[0, 0, 0, 1], [2, 2, 2, 2]], np.uint8), intermediate=True)[name]
    assert found.tolist() == [[63, 63, 63, 211], [100, 100, 100, 100]]


def test_normalize_is_close_to_the_real_norm():
    build = Build((8, 6, 5), bits=16)
    build.normalize(0, 1, 2, groups=2)
    program, node = build.program(), build.nodes[-1]
    codes = codes_of(program)
    found = Executor(program)(codes, intermediate=True)[build.last]
    x = program.tensors["x"].scale * (codes - float(program.tensors["x"].zero_point)).reshape(len(codes), 2, 4, 6, 5)
    mean, variance = (f(x, axis=(2, 3, 4), keepdims=True) for f in (np.mean, np.var))
    y = ((x - mean) / np.sqrt(variance + 1e-5)).reshape(codes.shape)
    bias, multiplier, shift = (
        program.constant(node, role).astype(float).reshape(-1, 1, 1) for role in ("bias", "multiplier", "shift")
    )
    real = (y * 2**16 + bias) * multiplier / 2**shift + build.zero_point
    assert np.abs(found - real.clip(0, 65535)).max() <= 2  # of 65535; the root has 16 bits


def lengths() -> list[int]:
    """Numbers of every length up to 62 bits, powers of two and their neighbours, which floats round to them."""
    rng = np.random.default_rng(0)
    near = [(1 << bits) + step for bits in range(62) for step in (-1, 0, 1)] + [(1 << 62) - 1]
    return [w for w in near if w >= 1] + [int(rng.integers(1 << bits, 2 << bits)) for bits in range(61) for _ in "1234"]


def test_the_root_is_that_of_unbounded_integers():
    """Of shifts of both signs."""
    w = np.array(lengths())
    bound = np.minimum(2.0**31 - 1, 64 * np.sqrt(w.astype(float))).astype(np.int64)
    for d in (bound, -bound, bound // 3, -(bound // 7), np.zeros_like(w)):
        expected = [reference.over_root(int(a), int(b)) for a, b in zip(d, w, strict=True)]
        assert over_root(d, w).tolist() == expected
        exact = d * 2.0**16 / np.sqrt(w.astype(float))
        assert (np.abs(np.array(expected) - exact) <= 1 + np.abs(exact) * 2.0**-14).all()


def test_the_root_by_hand():
    d, w = np.array([4, -4, 1, -(2**20), 3]), np.array([16, 16, 1, 1 << 40, 4])
    assert over_root(d, w).tolist() == [65536, -65536, 65536, -65536, 98304]


@pytest.mark.parametrize("images", [1, 16, 35])
def test_samples_do_not_matter_to_each_other(images: int):
    program = attention_network()
    codes = codes_of(program, images)
    together, alone = Executor(program)(codes), Executor(program)
    assert all(np.array_equal(alone(codes[i : i + 1])[0], together[i]) for i in range(images))
