"""Sparse formats: what is written is read back to the bit, and takes the bytes that a hand counts."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from search.integer.packing import pack_rows
from search.integer.sparse import (
    code_lengths,
    decode_csc,
    decode_csr,
    decode_run_length,
    encode_csc,
    encode_csr,
    encode_run_length,
    stored_bytes,
)
from tests.search.integer.programs import Build

FORMATS = {
    "csr": (encode_csr, decode_csr),
    "csc": (encode_csc, decode_csc),
    "run_length_huffman": (
        lambda codes, widths: encode_run_length(codes),
        lambda stored, widths, columns: decode_run_length(stored, len(widths), columns),
    ),
}


def random_codes(rows: int, columns: int, density: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Codes and their widths, 2 to 8 bits a row."""
    generator = np.random.default_rng(seed)
    widths = generator.integers(2, 8, rows, endpoint=True).astype(np.uint8)
    bound = (1 << (widths.astype(int) - 1)) - 1
    codes = generator.integers(-bound[:, None], bound[:, None], (rows, columns), endpoint=True)
    return np.where(generator.random((rows, columns)) < density, codes, 0).astype(np.int8), widths


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("density", [0.0, 0.01, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (16, 72), (5, 300), (300, 5), (2, 70_000), (0, 4), (4, 0), (0, 0)])
def test_what_is_written_is_read_back(name, shape, density):
    encode, decode = FORMATS[name]
    codes, widths = random_codes(*shape, density)
    stored = encode(codes, widths)
    assert stored.dtype == np.uint8 and stored.ndim == 1
    found = decode(stored, widths, shape[1])
    assert found.dtype == np.int8
    np.testing.assert_array_equal(found, codes)


@pytest.mark.parametrize("name", FORMATS)
def test_extreme_codes_and_one_bit_rows_are_read_back(name):
    encode, decode = FORMATS[name]
    codes = np.array([[1, -1, 1, -1], [0, 127, -127, 0], [0, 0, 0, 0], [1, 0, -1, 0]], np.int8)
    widths = np.array([1, 8, 4, 2], np.uint8)
    np.testing.assert_array_equal(decode(encode(codes, widths), widths, 4), codes)


@pytest.mark.parametrize("gap", [0, 1, 253, 254, 255, 507, 508, 509, 5000])
def test_runs_longer_than_a_symbol_are_read_back(gap):
    codes = np.zeros((1, gap + 3), np.int8)
    codes[0, gap] = codes[0, gap + 1] = -5
    np.testing.assert_array_equal(decode_run_length(encode_run_length(codes), 1, gap + 3), codes)


def test_rows_take_what_a_hand_counts():
    codes = np.zeros((4, 300), np.int8)
    codes[0, :3], codes[2, 299] = 1, -3
    widths = np.full(4, 4, np.uint8)
    # a byte of header; 5 starts of a byte; 4 values: columns of two bytes, 4 bits each
    assert encode_csr(codes, widths).nbytes == 1 + 5 + 4 * 2 + 2
    # 301 starts of a byte, rows of a byte
    assert encode_csc(codes, widths).nbytes == 1 + 301 + 4 * 1 + 2


def test_indices_widen_where_a_byte_does_not_hold_them():
    widths = np.full(2, 8, np.uint8)
    for columns, places in ((256, 1), (257, 2), (65_536, 2), (65_537, 4)):
        codes = np.zeros((2, columns), np.int8)
        codes[1, -1] = 9
        assert encode_csr(codes, widths).nbytes == 1 + 3 + places + 1
    full = np.ones((2, 128), np.int8)  # 256 values: where rows begin takes two bytes
    assert encode_csr(full, widths).nbytes == 1 + 3 * 2 + 256 + 256


def test_huffman_lengths_are_those_of_a_hand():
    assert code_lengths(Counter({1: 5, 2: 2, 3: 1, 4: 1})) == {1: 1, 2: 2, 3: 3, 4: 3}
    assert code_lengths(Counter({7: 9})) == {7: 1}
    assert code_lengths(Counter()) == {}


def test_run_length_takes_what_a_hand_counts():
    codes = np.array([[0, 0, 3, 3, 0, 0, 3, -1]], np.int8)
    # runs 2, 0, 2, 0 and values 3, 3, 3, -1: a bit each; books: longest, two codes of one bit, two symbols
    assert encode_run_length(codes).nbytes == 4 + 4 + 4 + 1
    assert encode_run_length(np.zeros((8, 9), np.int8)).nbytes == 4 + 1 + 1


def test_huffman_codes_are_no_longer_than_entropy_and_a_bit():
    codes, _ = random_codes(64, 200, 0.2, seed=3)
    counts = Counter(codes[codes != 0].tolist())
    lengths, total = code_lengths(counts), sum(counts.values())
    mean = sum(lengths[s] * n for s, n in counts.items()) / total
    entropy = -sum(n / total * np.log2(n / total) for n in counts.values())
    assert entropy <= mean < entropy + 1
    assert sum(2.0**-length for length in lengths.values()) == 1  # a complete code


@pytest.mark.parametrize("name", FORMATS)
def test_bytes_that_end_too_early_are_refused(name):
    encode, decode = FORMATS[name]
    codes, widths = random_codes(8, 40, 0.5)
    with pytest.raises(ValueError, match="sparse weights"):
        decode(encode(codes, widths)[:-3], widths, 40)


def test_a_program_counts_its_layers_and_shared_weights_once():
    build = Build((3, 6, 6))
    build.conv(8, (3, 3), widths=4)
    build.conv(4, (3, 3), groups=4)
    program = build.program()
    first, second = program.nodes
    dense, mixed = program.weights(first).copy(), program.weights(second)
    dense[:, 1:] = 0
    program.constants[first.constants["weight"]] = pack_rows(dense, program.widths(first))
    found = stored_bytes(program)
    each = [(dense, program.widths(first)), (mixed, program.widths(second))]
    sizes = [[8 * 14, 4 * 18], *([encode(*layer).nbytes for layer in each] for encode, _ in FORMATS.values())]
    assert found == {
        "dense": sum(sizes[0]),
        **{name: sum(size) for name, size in zip(FORMATS, sizes[1:], strict=True)},
        "smallest_of_each_layer": sum(min(size[layer] for size in sizes) for layer in range(2)),
    }
    assert found["smallest_of_each_layer"] < min(found["dense"], *(found[name] for name in FORMATS))
    twice = replace(program, nodes=(*program.nodes, first))
    assert stored_bytes(twice) == found
