"""The steps of the front end of sound, on many frames at a time. `search.integer.frontend` has their formulas."""

import numpy as np

from search.integer.frontend_tables import COSINE_BITS, WINDOW_BITS, Filters, quarter, window
from search.integer.graph import Array

LOG_BITS = 9  # behind the point of a logarithm
SPECTRUM_BITS = 4  # behind the point of a spectrum, which its powers leave out


def whole(value: Array, bits: int) -> Array:
    """A number in units of 2^-bits as a whole one, half up."""
    found: Array = (value + (1 << bits >> 1)) >> bits
    return found


def windowed(frames: Array) -> Array:
    """Step 1, without its zeros. Args: frames: (frame, n) int16. Returns: the same shape, int64."""
    return whole(window(len(frames)).astype(np.int64)[:, None] * frames, WINDOW_BITS - SPECTRUM_BITS)


def spectrum(x: Array, points: int) -> Array:
    """Steps 2 and the squares of 3. Args: x: (up to points, n) int64. Returns: (points / 2 + 1, n), the powers."""
    middle = points // 2
    first = quarter(points).astype(np.int64)
    cosine = np.concatenate([first, -first[-2::-1]])[:, None]  # shape: (middle + 1, 1)
    sine = np.concatenate([first[::-1], first[1:]])[:, None]
    z = np.zeros((2, middle, x.shape[1]), np.int64)  # its real and its imaginary parts
    order = _reversed_bits(middle)
    z[0, order[: (len(x) + 1) // 2]] = x[::2]
    z[1, order[: len(x) // 2]] = x[1::2]
    half = 1
    while half < middle:
        pairs = z.reshape(2, middle // (2 * half), 2, half, -1)
        a, (re, im) = pairs[:, :, 0], pairs[:, :, 1]
        step = middle // half
        c, s = cosine[: half * step : step], sine[: half * step : step]
        turned = re, im
        if half > 1:  # otherwise c is 1 and s is 0
            turned = whole(c * re + s * im, COSINE_BITS), whole(c * im - s * re, COSINE_BITS)
        b = np.stack(turned)
        pairs[:, :, 1] = a - b
        a += b
        half *= 2
    there = np.concatenate([z, z[:, :1]], 1)  # Z[0 .. M]
    back = there[:, ::-1]
    real, imaginary = there[0] - back[0], there[1] + back[1]  # of D
    re = (there[0] + back[0]) * (1 << COSINE_BITS) + cosine * imaginary - sine * real
    im = (there[1] - back[1]) * (1 << COSINE_BITS) - cosine * real - sine * imaginary
    return whole(whole(re, COSINE_BITS + 1) ** 2 + whole(im, COSINE_BITS + 1) ** 2, 2 * SPECTRUM_BITS)


def mel(powers: Array, filters: Filters) -> Array:
    """Step 3: (points / 2 + 1, n) to (bins, n)."""
    found = np.empty((len(filters.start), powers.shape[1]), np.int64)
    weights, at = filters.weights.astype(np.int64), 0
    for row, start, count in zip(found, filters.start, filters.count, strict=True):
        np.sum(weights[at : at + count, None] * powers[start : start + count], 0, out=row)
        at += count
    return found


def log2(sums: Array) -> Array:
    """Step 4, in units of 2^-9. Args: sums: of any shape, int64, 0 or more."""
    left = np.maximum(sums, 1).astype(np.uint64)
    found = np.full(left.shape, 63, np.int64)
    for bits in (32, 16, 8, 4, 2, 1):  # until its highest bit is the 63rd
        short = left >> np.uint64(64 - bits) == 0
        left = np.where(short, left << np.uint64(bits), left)
        found -= bits * short
    mantissa = left >> np.uint64(32)
    for _ in range(LOG_BITS + 1):
        square = mantissa * mantissa
        bit = square >> np.uint64(63)
        mantissa = square >> (np.uint64(31) + bit)
        found = 2 * found + bit.astype(np.int64)
    return whole(found, 1)


def _reversed_bits(count: int) -> Array:
    """The numbers below a power of two, with their bits in reverse."""
    found = np.zeros(1, np.int64)
    while len(found) < count:
        found = np.concatenate([2 * found, 2 * found + 1])
    return found
