"""The front end of sound: int16 samples to features of 8 bits, in integers alone, which C computes bit for bit as well.

With `>>` that rounds down, a frame of the sound becomes a column of features in five steps:

1. Window. x[n] = (sample[n] * hann[n] + 2^10) >> 11, hann in units of 2^-15, so that x is in units of 2^-4 and quiet
   sounds lose nothing; and zeros up to N points, the next power of two.
2. Spectrum. A transform of N real numbers as one of M = N / 2 complex ones, z[n] = x[2n] + i x[2n+1]: radix 2,
   decimation in time, without scaling. With c = cos(2 pi k / N) and s = sin(2 pi k / N) in units of 2^-30, a product is

       w * b:  re = (c * b.re + s * b.im + 2^29) >> 30        im = (c * b.im - s * b.re + 2^29) >> 30

   and from Z the spectrum X of the real numbers follows, k of 0 .. M, Z[M] = Z[0], D = Z[k] - conj(Z[M-k]):

       X[k].re = ((Z[k].re + Z[M-k].re) * 2^30 + c * D.im - s * D.re + 2^30) >> 31
       X[k].im = ((Z[k].im - Z[M-k].im) * 2^30 - c * D.re - s * D.im + 2^30) >> 31

3. Mel filters. S[b] = sum over k of weight[b, k] * ((X[k].re^2 + X[k].im^2 + 2^7) >> 8), weights in units of 2^-10.
4. Logarithm. L[b] is log2(max(S[b], 1)) in units of 2^-9: its integer part is the place p of the highest bit, and its
   fraction comes from squaring the 32 bits that begin there, ten times. L = (floor of units of 2^-10, + 1) >> 1.
5. For "mfcc" a DCT-II: F[c] = (sum over b of dct[c, b] * L[b] + 2^14) >> 15. For "log_mel" F = L.

A feature becomes a code by code = clip((F - offset + (2^shift >> 1)) >> shift, 0, 255). Each row has an offset and a
shift, which are chosen from training data and are part of the front end.

Nothing overflows. N is at most 2048, and x at most 2^19 in size. The numbers of the transform of M complex ones are at
most M * sqrt(2) * 2^19 < 2^29.6 with their rounding, of which each stage adds less than 1 to what the next ones double;
sums of two of them, and X, stay below 2^31: 32 bits. Their products with c and s, and sums of three, stay below 2^62.5.
By Parseval's theorem all powers sum up to N^2 * 2^30 <= 2^52 at most, with rounding below 2^52.1, and S stays below
2^62.1: 64 bits with a sign. L is at most 63 * 2^9 < 2^15, and F at most sqrt(bins) * 2^15 <= 2^19.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from search.integer.frontend_kernels import log2, mel, spectrum, whole, windowed
from search.integer.frontend_tables import DCT_BITS, Filters, dct, mel_filters
from search.integer.graph import Array
from search.kinds import FINITE, WHOLE, Kind, listed

LOG_MEL, MFCC = "log_mel", "mfcc"
IMAGE, SEQUENCE = "image", "sequence"
SHORTEST_FRAME, LONGEST_FRAME = 8, 2048  # samples; the longest keeps all sums within 64 bits
MOST_BINS, MOST_SAMPLES, MOST_RATE = 256, 2**24, 2**20
CODE_MAX = 255
MOST_SHIFT, MOST_OFFSET = 15, 2**20
CUT = 1000  # one feature of so many at each end of the training features may be clipped
FRAMES_AT_ONCE = 128  # whose transform fits a cache


@dataclass(frozen=True)
class FrontEnd:
    """From sound to features.

    Attributes:
        kind: "log_mel" or "mfcc".
        layout: of features, "image" (1, rows, frames) or "sequence" (rows, frames).
        rate: samples a second.
        samples: of a raw example.
        frame, hop: samples that a column is made from, and from one column to the next.
        bins: mel filters.
        coefficients: rows of the features for "mfcc", which are as many as bins for "log_mel"; 0 there.
        low, high: in Hz, what the filters cover.
        offset, shift: of each row, from features to codes; (): not chosen yet.
    """

    kind: str
    layout: str
    rate: int
    samples: int
    frame: int
    hop: int
    bins: int
    coefficients: int
    low: float
    high: float
    offset: tuple[int, ...] = ()
    shift: tuple[int, ...] = ()

    @property
    def rows(self) -> int:
        return self.coefficients if self.kind == MFCC else self.bins

    @property
    def frames(self) -> int:
        return 1 + (self.samples - self.frame) // self.hop

    @property
    def points(self) -> int:
        """Of the transform: the next power of two."""
        return 1 << (self.frame - 1).bit_length()

    @property
    def shape(self) -> tuple[int, ...]:
        """Of an example's features."""
        return (self.rows, self.frames) if self.layout == SEQUENCE else (1, self.rows, self.frames)

    @property
    def filters(self) -> Filters:
        return mel_filters(self.bins, self.points, self.rate, self.low, self.high)

    def fault(self) -> str | None:
        """What cannot be, in words, with what to do; None where nothing is wrong."""
        known = self._outside()
        if known is not None:
            return known
        empty = [number for number, count in enumerate(self.filters.count) if not count]
        if empty:
            return (
                f"{self.bins} bins found; filter {empty[0]} of them lies between two frequencies of a transform of "
                f"{self.points} points at {self.rate} Hz. Take fewer bins, a longer frame, or a higher lowest frequency"
            )
        return None

    def _outside(self) -> str | None:
        """The first number that is out of its range."""
        points = self.points if SHORTEST_FRAME <= self.frame <= LONGEST_FRAME else SHORTEST_FRAME
        nyquist = min(self.rate, MOST_RATE) / 2
        ranges = (
            ("rate", self.rate, 1, MOST_RATE, "samples a second"),
            ("frame", self.frame, SHORTEST_FRAME, LONGEST_FRAME, "samples"),
            ("hop", self.hop, 1, MOST_SAMPLES, "samples"),
            ("bins", self.bins, 2, min(MOST_BINS, points // 2), "mel filters of such a frame"),
            ("samples", self.samples, self.frame, MOST_SAMPLES, "samples of an example, of one frame or more"),
            ("low", self.low, 0, nyquist, "Hz, up to half the rate"),
            ("high", self.high, self.low, nyquist, "Hz, from the lowest frequency to half the rate"),
        )
        for name, value, least, most, unit in ranges:
            if not least <= value <= most:
                return f"{name} {value} found; {least} to {most} allowed ({unit}). Change it"
        if self.low == self.high:
            return f"low and high are both {self.low} Hz; high must be over low. Change one of them"
        mfcc = self.kind == MFCC
        if not (1 <= self.coefficients <= self.bins if mfcc else self.coefficients == 0):
            allowed = f"1 to {self.bins}, the number of bins," if mfcc else f"for '{LOG_MEL}' 0"
            return f"coefficients {self.coefficients} found; {allowed} allowed. Change them"
        return self._codes_outside()

    def _codes_outside(self) -> str | None:
        counts = {len(self.offset), len(self.shift)}
        if counts not in ({0}, {self.rows}):
            return f"{len(self.offset)} offsets and {len(self.shift)} shifts found; {self.rows} of each needed"
        if not all(abs(each) <= MOST_OFFSET for each in self.offset):
            return f"offsets {list(self.offset)} found; -{MOST_OFFSET} to {MOST_OFFSET} allowed"
        if not all(0 <= each <= MOST_SHIFT for each in self.shift):
            return f"shifts {list(self.shift)} found; 0 to {MOST_SHIFT} allowed"
        return None

    def features(self, raw: Array) -> Array:
        """What steps 1 to 5 make of sound.

        Args:
            raw: (n, samples) int16.

        Returns:
            (n, rows, frames) int32.
        """
        found = np.empty((len(raw), self.rows, self.frames), np.int32)
        starts = range(0, self.frames, FRAMES_AT_ONCE)
        several = max(1, FRAMES_AT_ONCE // self.frames)
        for first in range(0, len(raw), several):
            framed = sliding_window_view(raw[first : first + several], self.frame, axis=1)[:, :: self.hop]
            for start in starts:
                part = framed[:, start : start + FRAMES_AT_ONCE]
                rows = self._rows_of(part.reshape(-1, self.frame).T)
                shape = (self.rows, *part.shape[:2])
                found[first : first + several, :, start : start + FRAMES_AT_ONCE] = rows.reshape(shape).swapaxes(0, 1)
        return found

    def _rows_of(self, frames: Array) -> Array:
        """(frame, n) int16 to (rows, n)."""
        level = log2(mel(spectrum(windowed(frames), self.points), self.filters))
        if self.kind == LOG_MEL:
            return level
        return whole(dct(self.coefficients, self.bins).astype(np.int64) @ level, DCT_BITS)

    def fitted(self, features: Array) -> "FrontEnd":
        """The same with the offset and the shift of each row that training features need.

        Of "log_mel" all rows have one scale, since neighbours are compared; of "mfcc" each row has its own. The range
        covers all but one of 1000 features at each end, and lies in the middle of the codes. Frames of digital silence,
        which fill up sounds that are too short, do not count.

        Args:
            features: (n, rows, frames) int32.
        """
        columns = features.swapaxes(0, 1).reshape(self.rows, -1)
        heard = columns[:, columns.any(0)]
        parts = heard if self.kind == MFCC else heard.reshape(1, -1)
        fits = [_fitted(np.sort(part)) for part in parts] * (self.rows // len(parts))
        return replace(self, offset=tuple(o for o, _ in fits), shift=tuple(s for _, s in fits))

    def coded(self, features: Array) -> Array:
        """(n, rows, frames) int32 to codes (n, *shape) uint8."""
        offset, shift = (np.array(each, np.int32)[:, None] for each in (self.offset, self.shift))
        found = (features - offset + (1 << shift >> 1)) >> shift
        codes: Array = np.clip(found, 0, CODE_MAX).astype(np.uint8).reshape(-1, *self.shape)
        return codes

    def __call__(self, raw: Array) -> Array:
        """(n, samples) int16 to codes (n, *shape) uint8."""
        return self.coded(self.features(raw))

    def about(self) -> str:
        """In words, for a note."""
        rows = (
            f"{self.coefficients} MFCC of {self.bins} mel filters"
            if self.kind == MFCC
            else f"{self.bins} log-mel filters"
        )
        return (
            f"{rows} from {self.low:g} to {self.high:g} Hz, in {self.frames} frames of {self.frame} samples, "
            f"{self.hop} from one to the next, of {self.samples} samples at {self.rate} Hz"
        )

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "offset": list(self.offset), "shift": list(self.shift)}

    @staticmethod
    def of_json(value: Mapping[str, Any]) -> "FrontEnd":
        """What to_json gave. The kinds of its fields are KINDS."""
        return FrontEnd(**{**value, "offset": tuple(value["offset"]), "shift": tuple(value["shift"])})


def _fitted(ordered: Array) -> tuple[int, int]:
    """An offset and a shift for features in ascending order."""
    if not len(ordered):
        return 0, 0
    cut = len(ordered) // CUT
    low, high = int(ordered[cut]), int(ordered[-1 - cut])
    shift = next(s for s in range(MOST_SHIFT + 1) if (high - low) >> s < CODE_MAX)
    return low - (((CODE_MAX << shift) - (high - low)) >> 1), shift


KINDS = {
    "kind": Kind(f"'{LOG_MEL}' or '{MFCC}'", lambda value: value in (LOG_MEL, MFCC)),
    "layout": Kind(f"'{IMAGE}' or '{SEQUENCE}'", lambda value: value in (IMAGE, SEQUENCE)),
    **dict.fromkeys(("rate", "samples", "frame", "hop", "bins", "coefficients"), WHOLE),
    "low": FINITE,
    "high": FINITE,
    "offset": listed(WHOLE),
    "shift": listed(WHOLE),
}
