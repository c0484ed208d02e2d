"""The tables of the front end of sound: the same integers on every machine, so that no file has to hold them.

cos, exp and log of a C library may differ in their last bit from one machine to the next. `decimal` is specified to the
last digit: its sums, products and quotients, and also its exp and ln, are rounded correctly. What is rounded to an
integer here is computed in 40 digits by them.
"""

from dataclasses import dataclass
from decimal import ROUND_FLOOR, Context, Decimal, localcontext
from functools import lru_cache

import numpy as np

from search.integer.graph import Array

DIGITS = 40
PI = Decimal("3.14159265358979323846264338327950288419716939937510")
WINDOW_BITS, COSINE_BITS, MEL_BITS, DCT_BITS = 15, 30, 10, 15  # behind the point
MEL_HZ = 700  # mel(f) = 2595 log10(1 + f / 700): O'Shaughnessy, Speech Communication, 1987, as HTK has it


@dataclass(frozen=True)
class Filters:
    """Triangles over the bins of a spectrum, in units of 2^-MEL_BITS.

    Attributes:
        start, count: (bins,): which bins of the spectrum each filter reads; a filter between two of them has none.
        weights: of all filters, one behind another, uint16.
    """

    start: tuple[int, ...]
    count: tuple[int, ...]
    weights: Array


def hann(length: int) -> Array:
    """(length,) int16, in units of 2^-15, of which 1 itself becomes 2^15 - 1: 1/2 - 1/2 cos(2 pi n / length)."""
    with localcontext(Context(prec=DIGITS)):
        found = [_rounded((1 - _cosine(n, length)) / 2, WINDOW_BITS) for n in range(length)]
    return _kept(np.minimum(found, 2**WINDOW_BITS - 1).astype(np.int16))


@lru_cache(maxsize=16)
def window(length: int) -> Array:
    """`hann`, made once."""
    return hann(length)


@lru_cache(maxsize=16)
def quarter(points: int) -> Array:
    """(points / 4 + 1,) int32, in units of 2^-30: cos(2 pi k / points) of the first quarter of a turn."""
    with localcontext(Context(prec=DIGITS)):
        return _kept(np.array([_rounded(_cosine(k, points), COSINE_BITS) for k in range(points // 4 + 1)], np.int32))


@lru_cache(maxsize=16)
def dct(rows: int, columns: int) -> Array:
    """(rows, columns) int16, in units of 2^-15: the first rows of an orthonormal DCT-II of two columns or more."""
    with localcontext(Context(prec=DIGITS)):
        first, others = (1 / Decimal(columns)).sqrt(), (2 / Decimal(columns)).sqrt()
        found = [
            [
                _rounded((others if row else first) * _cosine(row * (2 * c + 1), 4 * columns), DCT_BITS)
                for c in range(columns)
            ]
            for row in range(rows)
        ]
    return _kept(np.array(found, np.int16))


@lru_cache(maxsize=16)
def mel_filters(bins: int, points: int, rate: int, low: float, high: float) -> Filters:
    """Triangles whose corners lie evenly in mel, and whose peak is 1.

    Between corners a < b < c the weight of a frequency f is (f - a) / (b - a) up to b, and (c - f) / (c - b) from b on.
    1 + f / 700 of the corners is a geometric row, whatever the base of the logarithm.

    Args:
        bins: how many.
        points: of the transform; bin k of its spectrum is the frequency k * rate / points.
        low, high: the first and the last corner, in Hz.
    """
    with localcontext(Context(prec=DIGITS)):
        first, last = (1 + Decimal(each) / MEL_HZ for each in (low, high))
        step = (last / first).ln() / (bins + 1)
        corners = [MEL_HZ * (first * (step * k).exp() - 1) for k in range(bins + 2)]
        starts, counts, weights = [], [], list[int]()
        for a, b, c in zip(corners, corners[1:], corners[2:], strict=False):
            own = {}
            for k in range(int(a * points / rate), min(int(c * points / rate) + 1, points // 2) + 1):
                f = Decimal(k * rate) / points
                weight = _rounded(min((f - a) / (b - a), (c - f) / (c - b)), MEL_BITS)
                if weight > 0:
                    own[k] = weight
            starts.append(min(own, default=0))
            counts.append(len(own))
            weights += own.values()
    return Filters(tuple(starts), tuple(counts), _kept(np.array(weights, np.uint16)))


def _cosine(part: int, turn: int) -> Decimal:
    """cos(2 pi part / turn), by its series: errors of a few units of the last of 40 digits."""
    square = (2 * PI * (part % turn) / turn) ** 2
    total = term = Decimal(1)
    k = 0
    while abs(term) > Decimal(10) ** -DIGITS:
        k += 2
        term = -term * square / (k * (k - 1))
        total += term
    return total


def _rounded(value: Decimal, bits: int) -> int:
    """In units of 2^-bits, half up."""
    return int((value * 2**bits + Decimal("0.5")).to_integral_value(ROUND_FLOOR))


def _kept(table: Array) -> Array:
    """A table that all share, and nobody changes."""
    table.flags.writeable = False
    return table
