"""Weights as bytes: rows of codes of 1..8 bits, packed little-endian. The format is our own.

Codes are in two's complement. Those of one bit are the sign, 0 for +1 and 1 for -1.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

NARROWEST, WIDEST = 1, 8  # bits
AT_ONCE = 1 << 18  # codes that are packed together, at most

Bytes = NDArray[np.uint8]
Codes = NDArray[np.int8]


def row_bytes(widths: Bytes, row_length: int) -> NDArray[np.int64]:
    """Bytes of each row. A row starts on a byte boundary, so it takes ceil(row_length * width / 8).

    Args:
        widths: (rows,), bits of each row.
        row_length: codes in a row.

    Returns:
        (rows,), bytes.

    Raises:
        ValueError: a width outside 1..8.
    """
    wrong = sorted({int(width) for width in widths if not NARROWEST <= width <= WIDEST})
    if wrong:
        raise ValueError(f"weight widths {wrong} cannot be packed; {NARROWEST}..{WIDEST} bits are allowed")
    return -(-row_length * widths.astype(np.int64) // 8)


def pack_rows(codes: NDArray[np.integer], widths: Bytes) -> Bytes:
    """Packs symmetric codes: -(2^(b-1)-1)..2^(b-1)-1 for a row of b bits, or -1 and 1 for one bit.

    Args:
        codes: (rows, row_length), integers.
        widths: (rows,), bits of each row.

    Returns:
        (bytes,), the rows one after another.

    Raises:
        ValueError: a width outside 1..8, or a code that its row's width cannot hold.
    """
    packed = np.zeros(int(row_bytes(widths, codes.shape[1]).sum()), np.uint8)
    bound = np.maximum((1 << (widths.astype(np.int64) - 1)) - 1, 1)
    magnitudes = np.abs(codes.astype(np.int64) if codes.itemsize > 2 else codes.astype(np.int16))
    signs = (widths == 1)[:, None] & (magnitudes != 1)
    outside = np.flatnonzero(((magnitudes > bound[:, None]) | signs).any(axis=1))
    if outside.size:
        row = int(outside[0])
        found = int(magnitudes[row].max()) if widths[row] > 1 else int(magnitudes[row][magnitudes[row] != 1][0])
        raise ValueError(
            f"row {row}: a code of magnitude {found} found; {widths[row]} bits hold -{bound[row]}..{bound[row]}"
            f"{', without 0' if widths[row] == 1 else ''}"
        )
    for width, rows, places in _by_width(widths, codes.shape[1]):
        plain = codes[rows].astype(np.int8)
        if width == WIDEST:
            packed[places] = plain.view(np.uint8)
            continue
        stored = plain if width > 1 else (plain - 1) >> 1  # 1 and -1 as 0 and -1, whose lowest bit is the sign
        bits = np.unpackbits(stored.view(np.uint8)[..., None], axis=2, count=width, bitorder="little")
        packed[places] = np.packbits(bits.reshape(len(rows), -1), axis=1, bitorder="little")
    return packed


def unpack_rows(packed: Bytes, widths: Bytes, row_length: int) -> Codes:
    """The inverse of pack_rows.

    Args:
        packed: (bytes,).
        widths: (rows,), bits of each row.
        row_length: codes in a row.

    Returns:
        (rows, row_length), codes.

    Raises:
        ValueError: a width outside 1..8, or a number of bytes that the widths do not explain.
    """
    expected = int(row_bytes(widths, row_length).sum())
    if packed.shape != (expected,):
        raise ValueError(
            f"packed weights have shape {packed.shape}; {len(widths)} rows of {row_length} need ({expected},)"
        )
    codes = np.empty((len(widths), row_length), np.int8)
    for width, rows, places in _by_width(widths, row_length):
        if width == WIDEST:
            codes[rows] = packed[places].view(np.int8)
            continue
        bits = np.unpackbits(packed[places], axis=1, count=row_length * width, bitorder="little")
        unsigned = np.packbits(bits.reshape(len(rows), row_length, width), axis=2, bitorder="little")[..., 0]
        spare = 8 - width
        signed = np.left_shift(unsigned, spare).view(np.int8) >> spare  # the arithmetic shift extends the sign
        codes[rows] = signed if width > 1 else 2 * signed + 1
    return codes


def pack_widths(widths: Bytes) -> Bytes:
    """A nibble of 4 bits for each channel, low nibble first: (channels,) -> (ceil(channels / 2),)."""
    even = np.resize(np.append(widths, 0), len(widths) + len(widths) % 2).astype(np.uint8)
    packed: Bytes = even[0::2] | even[1::2] << np.uint8(4)
    return packed


def unpack_widths(packed: Bytes, channels: int) -> Bytes:
    """The inverse of pack_widths: (ceil(channels / 2),) -> (channels,), bits."""
    both: Bytes = np.stack([packed & 15, packed >> 4], axis=1).reshape(-1)
    return both[:channels]


def _by_width(widths: Bytes, row_length: int) -> Iterator[tuple[int, NDArray[np.intp], NDArray[np.intp]]]:
    """Each width that occurs, its rows, and where their bytes lie: (rows of that width, bytes a row)."""
    sizes = row_bytes(widths, row_length)
    starts = np.cumsum(sizes) - sizes
    for width in np.unique(widths):
        every = np.flatnonzero(widths == width)
        at_once = max(1, AT_ONCE // max(1, row_length))
        for rows in np.split(every, range(at_once, len(every), at_once)):
            yield int(width), rows, starts[rows][:, None] + np.arange(sizes[rows[0]])
