"""Sounds, front ends and programs that read them, for tests."""

import hashlib
from dataclasses import replace

import numpy as np

from search.integer import frontend_tables as tables
from search.integer.frontend import IMAGE, LOG_MEL, MFCC, SEQUENCE, FrontEnd
from search.integer.preprocessing import FIRST, UINT8, Preprocessing
from search.integer.program import Program
from tests.search.integer.programs import Build

PIXEL, STD = 64, 0.25
DIGEST = "7647966c3c77abf5"


def front_end(**changes) -> FrontEnd:
    given = FrontEnd(
        kind=LOG_MEL, layout=IMAGE, rate=8000, samples=2000, frame=256, hop=100, bins=12, coefficients=0, low=20.0,
        high=4000.0,
    )  # fmt: skip
    return replace(given, **changes)


FRONT_ENDS = (
    front_end(samples=800),
    front_end(samples=800, kind=MFCC, coefficients=5),
    front_end(samples=500, layout=SEQUENCE, frame=77, hop=211, bins=5, low=100.0),
    front_end(samples=900, layout=SEQUENCE, kind=MFCC, frame=333, hop=400, coefficients=12),
    front_end(samples=30, frame=8, hop=3, bins=2, low=0.0),
    front_end(samples=2048, frame=2048, hop=1, rate=44100, high=20_000.0),
)


def drawn(given: FrontEnd) -> np.ndarray:
    """(n, samples): noise of all levels, full scale, one impulse, silence, clipped tones."""
    rng, t = np.random.default_rng(0), np.arange(given.samples)
    levels = 2.0 ** -np.arange(0, 16, 5)[:, None]
    noise = np.floor(rng.integers(-(2**15), 2**15, (len(levels), given.samples)) * levels)
    clipped = np.clip(1e5 * np.sin(0.3 * t), -(2**15), 2**15 - 1)
    full = [np.full(given.samples, each) for each in (2**15 - 1, -(2**15), 0)]
    alternating = np.where(t % 2 == 0, 2**15 - 1, -(2**15))
    impulse = np.where(t == 3, 2**15 - 1, 0)
    return np.array([*noise, clipped, *full, alternating, impulse, np.where(t == 5, 1, 0)]).astype(np.int16)


def fitted(given: FrontEnd) -> FrontEnd:
    """With offsets and shifts that clip some of the drawn sounds."""
    made = given.fitted(given.features(drawn(given)[:2]))
    return replace(made, shift=tuple(max(0, each - 1) for each in made.shift))


def program(given: FrontEnd, grid: bool = True) -> Program:
    """A convolution over features. Args: grid: whether a feature is its own code."""
    build = Build(given.shape, zero_point=PIXEL)
    build.tensors["x"] = replace(build.tensors["x"], scale=1 / (255 * STD) if grid else 0.03)
    build.conv(2, (1,) * (len(given.shape) - 1))
    channels = given.shape[0]
    preprocessing = Preprocessing(UINT8, FIRST, (PIXEL / 255,) * channels, (STD,) * channels, given)
    return replace(build.program(), preprocessing=preprocessing)


def digest() -> str:
    """Of tables of all kinds."""
    found = hashlib.sha256()
    for each in (tables.window(512), tables.window(1764), tables.quarter(2048), tables.dct(13, 40)):
        found.update(each.tobytes())
    for rate, points, bins in ((8000, 256, 40), (16000, 512, 40), (44100, 2048, 64)):
        filters = tables.mel_filters(bins, points, rate, 20.0, rate / 2)
        found.update(repr((filters.start, filters.count, filters.weights.tolist())).encode())
    return found.hexdigest()[:16]
