"""Weights with zeros as bytes, in three formats that leave zeros out. Each is written and read, and none is estimated.

CSR holds where the values of each row begin, the column of each value, and the values. CSC is the same by columns.
Indices are unsigned, little-endian, and as wide as they need to be: 1, 2 or 4 bytes. Values take the bits of their row.

Run length and Huffman (Han et al., "Deep Compression", arXiv 1510.00149, sections 2 and 4) hold, row by row, the number
of zeros before each value and the value, each with the canonical Huffman code of its kind. The code books are in the
bytes.

The shape and the rows' widths are known to the reader, as they are of dense weights.
"""

import heapq
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.integer.packing import Bytes, Codes
from search.integer.program import Program

FILLER = 254  # the run symbol of as many zeros with no value behind them
COUNT_BYTES = 4  # of the number of values, ahead of the code books

Integers = NDArray[np.int64]


def stored_bytes(program: Program) -> dict[str, int]:
    """Bytes of all weights in each format, and with the smallest format for each layer. Shared weights count once."""
    sizes: dict[str, dict[str, int]] = {}
    for node in program.weighted:
        codes, widths = program.weights(node), program.widths(node)
        sizes[node.constants["weight"]] = {
            "dense": program.constant(node, "weight").nbytes,
            "csr": encode_csr(codes, widths).nbytes,
            "csc": encode_csc(codes, widths).nbytes,
            "run_length_huffman": encode_run_length(codes).nbytes,
        }
    formats = ("dense", "csr", "csc", "run_length_huffman")
    total = {name: sum(each[name] for each in sizes.values()) for name in formats}
    return total | {"smallest_of_each_layer": sum(min(each.values()) for each in sizes.values())}


def encode_csr(codes: Codes, widths: Bytes) -> Bytes:
    """(rows, columns) codes, (rows,) bits of each row -> (bytes,)."""
    return _compressed(codes, _each(widths, codes.shape[1]))


def decode_csr(stored: Bytes, widths: Bytes, columns: int) -> Codes:
    """The inverse of encode_csr. Raises ValueError where the bytes do not fit the shape."""
    return _expanded(stored, _each(widths, columns))


def encode_csc(codes: Codes, widths: Bytes) -> Bytes:
    """(rows, columns) codes, (rows,) bits of each row -> (bytes,)."""
    return _compressed(codes.T, _each(widths, codes.shape[1]).T)


def decode_csc(stored: Bytes, widths: Bytes, columns: int) -> Codes:
    """The inverse of encode_csc. Raises ValueError where the bytes do not fit the shape."""
    return _expanded(stored, _each(widths, columns).T).T


def _each(widths: Bytes, columns: int) -> Integers:
    """(rows, columns), bits of every value."""
    return np.broadcast_to(widths.astype(np.int64)[:, None], (len(widths), columns))


def _compressed(codes: Codes, widths: Integers) -> Bytes:
    outer, inner = np.nonzero(codes)
    starts = np.append(0, np.cumsum(np.bincount(outer, minlength=len(codes))))
    index = _unsigned(len(outer))
    header = np.array([index.itemsize], np.uint8)
    places = inner.astype(_unsigned(codes.shape[1] - 1))
    values, bits = codes[outer, inner].astype(np.int64), widths[outer, inner]
    unsigned = np.where(bits == 1, values < 0, values & ((1 << bits) - 1))
    return np.concatenate([header, _bytes(starts.astype(index)), _bytes(places), _packed(unsigned, bits)])


def _expanded(stored: Bytes, widths: Integers) -> Codes:
    rows, columns = widths.shape
    codes = np.zeros((rows, columns), np.int8)
    index, inner = np.dtype(f"<u{stored[0]}"), _unsigned(columns - 1)
    after = 1 + (rows + 1) * index.itemsize
    starts = np.frombuffer(stored[1:after].tobytes(), index).astype(np.int64)
    count = int(starts[-1])
    values_from = after + count * inner.itemsize
    places = np.frombuffer(stored[after:values_from].tobytes(), inner).astype(np.int64)
    outer = np.repeat(np.arange(rows), np.diff(starts))
    if places.max(initial=-1) >= columns:
        raise ValueError(f"sparse weights: index {places.max()} found; 0 to {columns - 1} are allowed")
    bits = widths[outer, places]
    unsigned = _unpacked(stored[values_from:], bits)
    codes[outer, places] = np.where(bits == 1, 1 - 2 * unsigned, unsigned - ((unsigned >> (bits - 1)) << bits))
    return codes


def _unsigned(largest: int) -> np.dtype[Any]:
    """The narrowest unsigned type that holds 0 .. largest."""
    return np.min_scalar_type(max(0, largest)).newbyteorder("<")


def _bytes(values: NDArray[Any]) -> Bytes:
    return np.frombuffer(values.tobytes(), np.uint8)


def _packed(numbers: Integers, lengths: Integers) -> Bytes:
    """Numbers of so many bits each, one after another, highest bit first."""
    starts = np.cumsum(lengths) - lengths
    bits = np.zeros(int(lengths.sum()), np.uint8)
    for place in range(int(lengths.max(initial=0))):
        has = lengths > place
        bits[starts[has] + place] = numbers[has] >> (lengths[has] - 1 - place) & 1
    return np.packbits(bits)


def _unpacked(packed: Bytes, lengths: Integers) -> Integers:
    """The inverse of _packed."""
    total = int(lengths.sum())
    if len(packed) != -(-total // 8):
        raise ValueError(f"sparse weights: {len(packed)} bytes of values found; {len(lengths)} need {-(-total // 8)}")
    bits, starts = np.unpackbits(packed), np.cumsum(lengths) - lengths
    numbers = np.zeros(len(lengths), np.int64)
    for place in range(int(lengths.max(initial=0))):
        has = lengths > place
        numbers[has] = numbers[has] << 1 | bits[starts[has] + place]
    return numbers


# Run length and Huffman


def encode_run_length(codes: Codes) -> Bytes:
    """(rows, columns) codes -> (bytes,): number of values, book of runs, book of values, and their codes in turn."""
    flat = codes.reshape(-1)
    places = np.flatnonzero(flat)
    gaps = np.diff(places, prepend=-1) - 1
    last = np.cumsum(gaps // FILLER + 1) - 1  # of the run symbols of each value
    runs = np.full(int(last[-1]) + 1 if len(last) else 0, FILLER)
    runs[last] = gaps % FILLER
    values = flat[places].astype(np.int8).view(np.uint8).astype(np.int64)
    books = [code_lengths(Counter(symbols.tolist())) for symbols in (runs, values)]
    numbers, lengths = (np.zeros(len(runs) + len(values), np.int64) for _ in range(2))
    behind = last + np.arange(len(values)) + 1  # where the values stand among all symbols
    is_run = np.ones(len(numbers), bool)
    is_run[behind] = False
    for symbols, book, where in ((runs, books[0], is_run), (values, books[1], ~is_run)):
        numbers[where], lengths[where] = _looked_up(symbols, book)
    header = np.array([len(values)], "<u4")
    return np.concatenate([_bytes(header), *map(_book_bytes, books), _packed(numbers, lengths)])


def decode_run_length(stored: Bytes, rows: int, columns: int) -> Codes:
    """The inverse of encode_run_length.

    Raises:
        ValueError: the bytes end too early, or hold more than the shape.
    """
    flat = np.zeros(rows * columns, np.int8)
    count = int.from_bytes(stored[:COUNT_BYTES].tobytes(), "little")
    runs, rest = _book_from(stored[COUNT_BYTES:])
    values, rest = _book_from(rest)
    bits, place = iter(np.unpackbits(rest).tolist()), 0
    for _ in range(count):
        while (run := _symbol(bits, runs)) == FILLER:
            place += FILLER
        place += run
        if place >= len(flat):
            raise ValueError(f"sparse weights: a value at place {place} found; {rows} rows of {columns} end before")
        flat[place] = np.uint8(_symbol(bits, values)).view(np.int8)
        place += 1
    return flat.reshape(rows, columns)


def code_lengths(counts: Counter[int]) -> dict[int, int]:
    """Symbol -> bits of its Huffman code (Huffman 1952). A single symbol takes one bit."""
    lengths = dict.fromkeys(counts, 0 if len(counts) > 1 else 1)
    heap: list[tuple[int, int, tuple[int, ...]]] = [(count, symbol, (symbol,)) for symbol, count in counts.items()]
    heapq.heapify(heap)
    while len(heap) > 1:
        first, second = heapq.heappop(heap), heapq.heappop(heap)
        below = first[2] + second[2]
        for symbol in below:
            lengths[symbol] += 1
        heapq.heappush(heap, (first[0] + second[0], min(first[1], second[1]), below))
    return lengths


def _canonical(lengths: dict[int, int]) -> dict[int, int]:
    """Symbol -> code. Codes of one length follow one another, in the order of the symbols."""
    codes, code, before = {}, 0, 0
    for length, symbol in sorted((length, symbol) for symbol, length in lengths.items()):
        code <<= length - before
        codes[symbol], before = code, length
        code += 1
    return codes


def _looked_up(symbols: Integers, lengths: dict[int, int]) -> tuple[Integers, Integers]:
    """The code of each symbol, and its number of bits."""
    codes, tables = _canonical(lengths), np.zeros((2, 256), np.int64)
    for symbol, length in lengths.items():
        tables[:, symbol] = codes[symbol], length
    return tables[0][symbols], tables[1][symbols]


def _book_bytes(lengths: dict[int, int]) -> Bytes:
    """The longest code's bits, how many codes there are of 1, 2, ... bits, and their symbols in that order."""
    longest = max(lengths.values(), default=0)
    per_length = Counter(lengths.values())
    symbols = [symbol for _, symbol in sorted((length, symbol) for symbol, length in lengths.items())]
    return np.array([longest, *(per_length[n] for n in range(1, longest + 1)), *symbols], np.uint8)


def _book_from(stored: Bytes) -> tuple[dict[tuple[int, int], int], Bytes]:
    """(bits, code) -> symbol, and the bytes behind the book."""
    longest = int(stored[0])
    per_length = stored[1 : 1 + longest].astype(np.int64)
    after = 1 + longest + int(per_length.sum())
    symbols = stored[1 + longest : after].tolist()
    lengths = dict(zip(symbols, np.repeat(np.arange(1, longest + 1), per_length).tolist(), strict=True))
    return {(lengths[symbol], code): symbol for symbol, code in _canonical(lengths).items()}, stored[after:]


def _symbol(bits: Iterator[int], book: dict[tuple[int, int], int]) -> int:
    code, length = 0, 0
    for bit in bits:
        code, length = code << 1 | bit, length + 1
        if (length, code) in book:
            return book[length, code]
    raise ValueError("sparse weights: the bytes end within a code")
