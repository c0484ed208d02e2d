import numpy as np
import pytest

from search.integer.packing import pack_rows, pack_widths, row_bytes, unpack_rows, unpack_widths


def packed_slowly(codes: np.ndarray, widths: np.ndarray) -> list[int]:
    """Bit by bit: a row is one large integer whose lowest bits are the first code."""
    packed: list[int] = []
    for row, width in zip(codes.tolist(), widths.tolist(), strict=True):
        stored = [int(code < 0) for code in row] if width == 1 else row
        number = sum((code & ((1 << width) - 1)) << (index * width) for index, code in enumerate(stored))
        packed += number.to_bytes(-(-len(row) * width // 8), "little")
    return packed


def random_codes(widths: np.ndarray, length: int) -> np.ndarray:
    bound = (1 << (widths.astype(int) - 1)) - 1
    codes = np.random.default_rng(length).integers(
        -bound[:, None], bound[:, None], (len(widths), length), endpoint=True
    )
    codes[:, 0] = -bound
    codes[widths == 1] = np.random.default_rng(length).choice([-1, 1], (int((widths == 1).sum()), length))
    return codes


@pytest.mark.parametrize("length", [1, 2, 3, 7, 8, 9, 64])
@pytest.mark.parametrize("widths", [[2], [3] * 5, [8, 8], [2, 3, 4, 5, 6, 7, 8], [8, 2, 8, 5, 2], [1], [1, 4, 1]])
def test_rows_match_a_slow_packing_and_come_back(widths: list[int], length: int):
    bits = np.array(widths, np.uint8)
    codes = random_codes(bits, length)
    packed = pack_rows(codes, bits)
    assert packed.dtype == np.uint8 and packed.tolist() == packed_slowly(codes, bits)
    unpacked = unpack_rows(packed, bits, length)
    assert unpacked.dtype == np.int8
    np.testing.assert_array_equal(unpacked, codes)


def test_hand_count():
    assert row_bytes(np.array([2, 3, 8], np.uint8), 9).tolist() == [3, 4, 9]
    assert pack_rows(np.array([[1, -1, 0, 1, -1]]), np.array([2], np.uint8)).tolist() == [0b01_00_11_01, 0b11]
    assert pack_rows(np.array([[1, -1, -1, 1, 1]]), np.array([1], np.uint8)).tolist() == [0b00110]


@pytest.mark.parametrize("widths, expected", [([2], [0x02]), ([2, 8], [0x82]), ([3, 4, 5], [0x43, 0x05])])
def test_widths_are_nibbles_low_first(widths: list[int], expected: list[int]):
    packed = pack_widths(np.array(widths, np.uint8))
    assert packed.tolist() == expected
    assert unpack_widths(packed, len(widths)).tolist() == widths


@pytest.mark.parametrize("width", [0, 9, 16])
def test_refuses_widths(width: int):
    with pytest.raises(ValueError, match=rf"widths \[{width}\].*1..8 bits"):
        pack_rows(np.zeros((1, 3), int), np.array([width], np.uint8))


@pytest.mark.parametrize("code, width", [(2, 2), (-2, 2), (128, 8), (-128, 8), (0, 1), (2, 1)])
def test_refuses_codes_that_do_not_fit(code: int, width: int):
    with pytest.raises(ValueError, match=rf"row 1: a code of magnitude {abs(code)} found; {width} bits hold"):
        pack_rows(np.array([[0, 0], [1, code]]), np.array([8, width], np.uint8))


def test_refuses_a_wrong_number_of_bytes():
    with pytest.raises(ValueError, match=r"\(4,\); 1 rows of 9 need \(3,\)"):
        unpack_rows(np.zeros(4, np.uint8), np.array([2], np.uint8), 9)
