from itertools import product

import numpy as np
import pytest

from search.integer.kernels import Finish, Requantizer, Scratch, accumulator_dtype, quantize, real_multiplier
from tests.search.integer import reference

LARGEST = 2**31 - 1
MULTIPLIERS = (1 << 14, (1 << 14) + 1, 20000, 21845, 24576, 32766, 32767)


Clip = tuple[int, int]


def requantized(acc: np.ndarray, split: np.ndarray, how: tuple[int, int], zero_point: int, clip: Clip) -> np.ndarray:
    """Through the float64 kernel, acc in two parts: the sum that it is given and the bias that it was prepared with."""
    multiplier, shift = np.array([how[0]], np.int16), np.array([how[1]], np.uint8)
    scale = np.broadcast_to(real_multiplier(multiplier, shift), split.shape)
    kernel = Requantizer(scale, how[1], split, Finish({"clip": list(clip), "zero_point": zero_point}, None))
    out = np.empty(acc.shape, np.uint16)
    kernel((acc - split).astype(np.float64), out, Scratch())
    return out


def expected(acc: np.ndarray, how: tuple[int, int], zero_point: int, clip: Clip) -> list[int]:
    return [min(max(reference.requantize(int(a), *how) + zero_point, clip[0]), clip[1]) for a in acc]


def interesting(multiplier: int, shift: int) -> np.ndarray:
    """Accumulators at and beside every kind of threshold: ties, exact integers, 0, and the ends of int32."""
    targets = np.array([-3, -2, -1, 0, 1, 2, 127, 128, 254, 255, 256, 65535, 65536])
    ties = [((2 * int(k) + half) << shift) // (2 * multiplier) for k, half in product(targets, (-1, 0, 1))]
    around = {tie + step for tie in ties for step in (-2, -1, 0, 1, 2)} | {-LARGEST, -LARGEST + 1, LARGEST - 1, LARGEST}
    return np.array(sorted(a for a in around if abs(a) <= LARGEST), np.int64)


@pytest.mark.parametrize("shift", range(1, 63))
def test_requantization_equals_integers_at_every_shift(shift: int):
    for magnitude, sign in product(MULTIPLIERS, (1, -1)):
        acc = interesting(magnitude, shift)
        for zero_point, clip in ((0, (0, 255)), (131, (0, 255)), (65535, (0, 65535))):
            for bias in (0, 12345, LARGEST // 2):
                acc_here = acc[np.abs(acc - bias) <= LARGEST]
                split = np.full(len(acc_here), bias)
                how = (sign * magnitude, shift)
                found = requantized(acc_here, split, how, zero_point, clip)
                assert found.tolist() == expected(acc_here, how, zero_point, clip), (how, zero_point, bias)


@pytest.mark.parametrize("multiplier", [16384, 24576, 32767, -16384, -32767])
def test_requantization_equals_integers_for_all_small_accumulators(multiplier: int):
    """Exhaustive around 0: with powers of two every second accumulator is a tie."""
    acc = np.arange(-(1 << 12), 1 << 12)
    for shift in (14, 15, 16, 17, 20):
        found = requantized(acc, np.zeros_like(acc), (multiplier, shift), 100, (0, 255))
        assert found.tolist() == expected(acc, (multiplier, shift), 100, (0, 255))


def test_ties_round_up_on_both_sides_of_zero():
    acc = np.array([-3, -1, 1, 3])  # times 1/2: -1.5, -0.5, 0.5, 1.5
    assert requantized(acc, np.zeros(4), (1 << 14, 15), 10, (0, 20)).tolist() == [9, 10, 11, 12]


def test_table_is_indexed_from_the_low_end_of_the_clip():
    finish = Finish({"clip": [-2, 1], "zero_point": 0}, np.array([7, 8, 9, 10], np.uint8))
    kernel = Requantizer(np.ones(1), 1, np.zeros(1), finish)
    out = np.empty(6, np.uint8)
    kernel(np.array([-9, -2, -1, 0, 1, 9], np.float32), out, Scratch())
    assert out.tolist() == [7, 7, 8, 9, 10, 10]


def test_channels_keep_their_constants_over_many_pixels():
    scale, bias = np.array([1.0, 0.5, 2.0]), np.array([0, 1, 2])
    kernel = Requantizer(scale, 1, bias, Finish({"clip": [0, 255], "zero_point": 0}, None))
    for pixels in (1, 7, 341, 5000):
        acc = np.tile(np.array([10.0, 20.0, 30.0], np.float32), (pixels, 1))
        out = np.empty(acc.shape, np.uint8)
        kernel(acc, out, Scratch())
        assert (out == [10, 11, 64]).all()


def test_float32_is_chosen_only_where_it_is_exact():
    assert accumulator_dtype(-(1 << 24), 1 << 24) is np.float32
    assert accumulator_dtype(0, (1 << 24) + 1) is np.float64
    assert accumulator_dtype(-(1 << 24) - 1, 0) is np.float64


def test_quantize_follows_its_float32_steps():
    x = np.random.default_rng(0).normal(0, 40, 20_000).astype(np.float32)
    x[:512] = (np.arange(512, dtype=np.float32) - 256 + np.float32(0.5)) * np.float32(0.1)  # about ties
    steps = np.floor((x / np.float32(0.1)) + np.float32(0.5)) + np.float32(7)
    np.testing.assert_array_equal(quantize(x, 0.1, 7, 255), np.clip(steps, 0, 255))


def test_scratch_reuses_a_buffer_and_grows_it():
    scratch = Scratch()
    large = scratch.take("a", (4, 8), np.float64)
    small = scratch.take("a", (3,), np.float32)
    assert np.shares_memory(large, small) and small.shape == (3,) and small.dtype == np.float32
    assert not np.shares_memory(small, scratch.take("b", (3,), np.float32))
    assert scratch.take("a", (9, 8), np.float64).shape == (9, 8)
