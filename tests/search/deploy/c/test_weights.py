"""Weights as kernels read them, against a loop over bits."""

import numpy as np
import pytest

from search.deploy.c.weights import Segment, segments
from tests.search.integer.programs import Build


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_codes_lie_where_they_should(bits: int):
    rng = np.random.default_rng(0)
    bound = (1 << (bits - 1)) - 1
    codes = rng.integers(-bound, bound, (3, 32), endpoint=True).astype(np.int8)
    packed = Segment(bits, np.arange(3), codes).packed().view(np.uint8).reshape(3, -1)
    fields = 8 // bits
    for row in range(3):
        for k in range(32):
            word, inside = divmod(k, 4 * fields)
            field, byte = divmod(inside, 4)
            found = int(packed[row, 4 * word + byte]) >> (bits * field) & ((1 << bits) - 1)
            assert found == int(codes[row, k]) & ((1 << bits) - 1)


def test_channels_of_one_width_lie_together_and_rows_are_padded():
    build = Build((3, 4, 4))
    build.conv(5, (3, 3), widths=[4, 8, 2, 4, 3])
    program = build.program()
    order = np.arange(27)
    found = segments(program, program.nodes[0], order)
    assert [each.bits for each in found] == [2, 4, 8]
    assert [each.channels.tolist() for each in found] == [[2], [0, 3, 4], [1]]
    assert [each.codes.shape[1] for each in found] == [32, 32, 28]  # words of 16, 8 and 4 codes
    weights = program.weights(program.nodes[0])
    for each in found:
        assert np.array_equal(each.codes[:, :27], weights[each.channels]) and not each.codes[:, 27:].any()


def test_sums_that_would_overflow_in_the_highest_bits_are_of_8_bits():
    build = Build((4, 2, 2))
    build.conv(2, (1, 1), widths=4)
    program = build.program()
    program.constants["conv0.bias"][:] = [1 << 28, 0]
    assert [each.bits for each in segments(program, program.nodes[0], np.arange(4))] == [4, 8]
