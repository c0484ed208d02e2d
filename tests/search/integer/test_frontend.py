"""The front end of sound: its integers are those of plain loops, and its features those of floats, within an error."""

from dataclasses import replace
from functools import cache
from math import cos, log, log10, pi, sqrt

import numpy as np
import pytest

from search.errors import UsageError
from search.integer import frontend_tables as tables
from search.integer.executor import Executor
from search.integer.frontend import IMAGE, LOG_MEL, MFCC, SEQUENCE, FrontEnd
from search.integer.frontend_kernels import log2
from search.integer.graph import ProgramError
from search.integer.program import Program
from tests.search.integer import sounds
from tests.search.integer.sounds import FRONT_ENDS, drawn, fitted, front_end, program


@cache
def corners(bins: int, low: float, high: float) -> list[float]:
    """Evenly in mel, as the formula is mostly written."""
    first, last = (2595 * log10(1 + f / 700) for f in (low, high))
    return [700 * (10 ** ((first + (last - first) * k / (bins + 1)) / 2595) - 1) for k in range(bins + 2)]


def triangle(given: FrontEnd, row: int, k: int) -> float:
    a, b, c = corners(given.bins, given.low, given.high)[row : row + 3]
    f = k * given.rate / given.points
    return max(0.0, min((f - a) / (b - a), (c - f) / (c - b)))


def half_up(value: int, bits: int) -> int:
    return (value + (1 << bits >> 1)) >> bits


def plain_column(given: FrontEnd, samples: list[int]) -> list[int]:
    """The features of one frame in loops over Python's integers, with tables in floats of Python."""
    points, middle = given.points, given.points // 2
    hann = [min(2**15 - 1, int(2**15 * (0.5 - 0.5 * cos(2 * pi * n / given.frame)) + 0.5)) for n in range(given.frame)]
    x = [half_up(sample * w, 11) for sample, w in zip(samples, hann, strict=True)] + [0] * (points - given.frame)
    cosine = [round(2**30 * cos(2 * pi * k / points)) for k in range(middle + 1)]
    sine = [round(2**30 * cos(2 * pi * (k - points / 4) / points)) for k in range(middle + 1)]
    z = transform([(x[2 * n], x[2 * n + 1]) for n in range(middle)], cosine, sine)
    z.append(z[0])
    powers = []
    for k in range(middle + 1):
        (re, im), (other_re, other_im) = z[k], z[middle - k]
        d_re, d_im = re - other_re, im + other_im
        x_re = half_up((re + other_re) * 2**30 + cosine[k] * d_im - sine[k] * d_re, 31)
        x_im = half_up((im - other_im) * 2**30 - cosine[k] * d_re - sine[k] * d_im, 31)
        assert max(map(abs, (x_re, x_im, re + other_re, im - other_im, d_re, d_im))) < 2**31
        powers.append(half_up(x_re**2 + x_im**2, 8))
    levels = []
    for row in range(given.bins):
        weights = [int(2**10 * triangle(given, row, k) + 0.5) for k in range(middle + 1)]
        total = sum(w * power for w, power in zip(weights, powers, strict=True))
        assert total < 2**63
        levels.append(plain_log2(max(total, 1)))
    if given.kind == LOG_MEL:
        return levels
    return [
        half_up(sum(round(2**15 * scale(c, given.bins) * cos(pi * c * (b + 0.5) / given.bins)) * level
                    for b, level in enumerate(levels)), 15)
        for c in range(given.coefficients)
    ]  # fmt: skip


def scale(row: int, columns: int) -> float:
    return sqrt((2 if row else 1) / columns)


def transform(z: list[tuple[int, int]], cosine: list[int], sine: list[int]) -> list[tuple[int, int]]:
    """By its definition, halves first: those of even numbers, and of odd ones turned."""
    if len(z) == 1:
        return z
    even, odd = (transform(z[first::2], cosine, sine) for first in (0, 1))
    step, found = 2 * (len(cosine) - 1) // len(z), [(0, 0)] * len(z)
    for k, ((a_re, a_im), (b_re, b_im)) in enumerate(zip(even, odd, strict=True)):
        c, s = cosine[k * step], sine[k * step]
        t_re, t_im = half_up(c * b_re + s * b_im, 30), half_up(c * b_im - s * b_re, 30)
        assert max(abs(each) for each in (a_re, a_im, t_re, t_im)) < 2**30
        found[k] = a_re + t_re, a_im + t_im
        found[k + len(even)] = a_re - t_re, a_im - t_im
    return found


def plain_log2(number: int) -> int:
    place = number.bit_length() - 1
    mantissa = (number << 63 >> place) >> 32
    for _ in range(10):
        mantissa *= mantissa
        place = 2 * place + (mantissa >> 63)
        mantissa >>= 32 if mantissa >> 63 else 31
    return (place + 1) >> 1


@pytest.mark.parametrize("given", FRONT_ENDS, ids=lambda each: f"{each.kind} {each.layout} {each.frame}")
def test_integers_are_those_of_plain_loops(given: FrontEnd):
    raw = drawn(given)
    found = given.features(raw)
    assert found.shape == (len(raw), given.rows, given.frames) and found.dtype == np.int32
    made = fitted(given)
    codes = made(raw).reshape(found.shape)
    for sound, columns, coded in zip(raw, found, codes, strict=True):
        for frame in range(given.frames):
            column = plain_column(given, sound[frame * given.hop :][: given.frame].tolist())
            assert columns[:, frame].tolist() == column
            each = zip(column, made.offset, made.shift, strict=True)
            assert coded[:, frame].tolist() == [min(255, max(0, half_up(f - o, s))) for f, o, s in each]


def test_examples_do_not_depend_on_what_is_computed_with_them():
    given = front_end(samples=50_000, frame=64, hop=70, bins=5)  # more frames than are computed together
    raw = np.random.default_rng(0).integers(-(2**15), 2**15, (5, given.samples)).astype(np.int16)
    each = np.concatenate([given.features(sound[None]) for sound in raw])
    np.testing.assert_array_equal(given.features(raw), each)
    part = replace(given, samples=64 + 70 * 9)
    np.testing.assert_array_equal(part.features(raw[:, : part.samples]), each[:, :, :10])


# What the rounding of samples, spectra and weights makes of a power is small beside powers far above one unit.
@pytest.mark.parametrize("size, worst", [(2**15, 0.004), (100, 0.01), (10, 0.15)])
def test_features_are_those_of_floats_within_an_error(size: int, worst: float):
    """In units of log2 of a power: 1 is 3.01 dB. Noise, whose powers all are of the order of its own."""
    given = front_end(samples=16_000, frame=512, hop=320, bins=40, rate=16_000, low=20.0, high=8000.0)
    raw = np.random.default_rng(0).integers(-size, size, (4, given.samples)).astype(np.int16)
    frames = np.lib.stride_tricks.sliding_window_view(raw, given.frame, axis=1)[:, :: given.hop]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(given.frame) / given.frame)
    powers = np.abs(np.fft.rfft(frames * hann, given.points)) ** 2
    weights = np.array([[triangle(given, row, k) for k in range(given.points // 2 + 1)] for row in range(given.bins)])
    levels = np.log2(2**10 * powers @ weights.T)  # shape: (n, frames, bins)
    apart = np.abs(given.features(raw).swapaxes(1, 2) / 2**9 - levels)
    assert apart.max() < worst and apart.mean() < worst / 5  # 0.012 dB at full scale, 0.03 dB at 1/300 of it
    mfcc = replace(given, kind=MFCC, coefficients=13)
    rows = np.array(
        [[scale(c, 40) * cos(pi * c * (b + 0.5) / 40) for b in range(40)] for c in range(13)]
    )  # shape: (coefficients, bins)
    apart = np.abs(mfcc.features(raw).swapaxes(1, 2) / 2**9 - levels @ rows.T)
    assert apart.max() < 2 * worst


def test_logarithms_are_right_to_half_a_unit_and_a_little():
    numbers = np.concatenate([np.arange(1, 5000), 2 ** np.arange(62), 2 ** np.arange(1, 62) - 1])
    exact = np.array([512 * log(int(each), 2) for each in numbers])
    assert np.abs(log2(numbers) - exact).max() < 0.51
    assert log2(np.array([0, 1, 2, 2**62])).tolist() == [0, 0, 512, 62 * 512]


def test_tables_are_those_of_their_formulas_and_the_same_on_every_machine():
    for length in (8, 77, 256, 2048):
        exact = 2**15 * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length))
        assert np.abs(np.minimum(exact, 2**15 - 1) - tables.window(length)).max() < 0.501
    assert tables.quarter(8).tolist() == [2**30, 759250125, 0]  # cos of 0, 45 and 90 degrees
    assert tables.dct(2, 2).tolist() == [[23170, 23170], [23170, -23170]]  # 2^15 / sqrt(2)
    assert sounds.digest() == sounds.DIGEST  # a file holds no tables, so that they may never change


@pytest.mark.parametrize("kind, layout, shape", [(LOG_MEL, IMAGE, (1, 12, 18)), (MFCC, SEQUENCE, (6, 18))])
def test_offsets_and_shifts_fit_training_features(kind: str, layout: str, shape: tuple[int, ...]):
    given = front_end(kind=kind, layout=layout, coefficients=6 if kind == MFCC else 0)
    raw = np.random.default_rng(0).normal(0, 300, (40, given.samples)).astype(np.int16)
    raw[30:] = 0  # digital silence does not count
    made = given.fitted(given.features(raw))
    codes = made(raw[:30])
    assert codes.shape == (30, *shape) and codes.dtype == np.uint8
    rows = codes.reshape(30, given.rows, -1).swapaxes(0, 1).reshape(given.rows, -1)
    spread = rows.max(1) - rows.min(1).astype(int)
    assert ((codes == 0) | (codes == 255)).mean() < 0.003
    if kind == MFCC:
        assert (spread > 100).all()  # each row uses half of the codes at least, but for what was cut off
    else:
        assert len({*made.offset}) == len({*made.shift}) == 1 and rows.max() - rows.min() > 100
    assert replace(given, offset=(), shift=()).fitted(given.features(raw[30:])).shift == (0,) * given.rows


def test_a_program_keeps_its_front_end_and_predicts_the_same(tmp_path):
    made = program(fitted(front_end()))
    raw = drawn(front_end())
    found = Executor(made).predict(raw)
    made.save(tmp_path / "program.safetensors")
    loaded = Program.load(tmp_path / "program.safetensors")
    assert loaded.preprocessing == made.preprocessing and loaded.preprocessing.frontend.frames == 18
    np.testing.assert_array_equal(Executor(loaded).predict(raw), found)
    np.testing.assert_array_equal(Executor(loaded).predict(raw[3]), found[3])
    codes = made.preprocessing.frontend(raw)
    np.testing.assert_array_equal(Executor(loaded)(codes), found)  # codes of the first layer are the features


def test_what_is_no_sound_is_refused():
    executor = Executor(program(fitted(front_end())))
    expected = r"sound of one channel expected, int16 of shape \(n, 2000\), 8000 samples a second"
    for raw, found in (
        (np.zeros((2, 2000)), r"float64 of shape \(2, 2000\)"),
        (np.zeros((2, 1999), np.int16), r"int16 of shape \(2, 1999\)"),
        (np.zeros((2, 1, 2000), np.int16), r"int16 of shape \(2, 1, 2000\)"),
        ([1, 2], "list"),
    ):
        with pytest.raises(UsageError, match=f"raw examples: {found} found; {expected}"):
            executor.predict(raw)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"frame": 2001}, "samples 2000 found; 2001 to 16777216 allowed"),
        ({"frame": 4096, "samples": 9000}, "frame 4096 found; 8 to 2048 allowed"),
        ({"hop": 0}, "hop 0 found"),
        (
            {"bins": 100, "offset": (), "shift": ()},
            r"100 bins found; filter 1 of them lies between two frequencies of a transform of 256 points",
        ),
        ({"bins": 1}, "bins 1 found; 2 to 128 allowed"),
        ({"high": 4001.0}, r"high 4001.0 found; 20.0 to 4000.0 allowed \(Hz"),
        ({"low": 4000.0}, "low and high are both 4000.0 Hz"),
        ({"kind": MFCC, "coefficients": 13}, "coefficients 13 found; 1 to 12, the number of bins, allowed"),
        ({"coefficients": 3}, "coefficients 3 found; for 'log_mel' 0 allowed"),
        ({"rate": 10**400}, "rate 1000.* found; 1 to 1048576 allowed"),
        ({"offset": (0,)}, "1 offsets and 12 shifts found; 12 of each needed"),
        ({"shift": (16,) * 12}, r"shifts \[16, .* found; 0 to 15 allowed"),
        ({"offset": (2**21,) * 12}, r"offsets \[2097152, .* found; -1048576 to 1048576 allowed"),
        ({"offset": (), "shift": ()}, "no offsets and shifts found"),
        ({"layout": SEQUENCE}, r"features of shape \(12, 18\) found; the input has \(1, 12, 18\)"),
    ],
)
def test_a_front_end_that_cannot_be_is_refused(changes, message):
    made = program(fitted(front_end()))
    frontend = replace(made.preprocessing.frontend, **changes)
    with pytest.raises(ProgramError, match=f"preprocessing: frontend: {message}"):
        replace(made, preprocessing=replace(made.preprocessing, frontend=frontend)).validate()


def test_features_are_bytes_with_channels_first():
    made = program(fitted(front_end()))
    with pytest.raises(ProgramError, match="dtype 'uint8' and channels 'none' found; features are 'uint8' and 'first'"):
        replace(made, preprocessing=replace(made.preprocessing, channels="none")).validate()
