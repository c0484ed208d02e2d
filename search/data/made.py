"""Data sets that are made when they are asked for, so that every task can be tried."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from search.data.data import Data, DataError
from search.data.npz import from_arrays
from search.data.sound import FrontEndOptions

# Pulses: 8 s at 32 Hz of light through skin and of acceleration in three axes.
PULSE_RATE, PULSE_LENGTH, SUBJECTS, PULSES = 32, 256, 14, 160  # the last of each subject
SPLIT = (9, 11)  # subjects before the first are for training, before the second for validation, the others for test

# Machines: half a second at 4 kHz, as the logarithms of 64 bands of five frames.
MACHINE_RATE, FRAME, FRAMES, BANDS = 4000, 512, 5, 64
NORMAL, TESTED = 1600, 400  # examples; half of the latter are anomalies, and as many are for validation

# Marked series: a wave of two kinds on a baseline.
LENGTH, SERIES = 128, 900

# Sounds: a second at 8 kHz.
SOUND_RATE, SOUNDS, HEARD_SHARE = 8000, 1500, 0.35
HEARD = ("rise", "fall", "beeps", "clicks", "voice")


@dataclass
class MadeOptions:
    """Which data set, and the seed that it is drawn from.

    Attributes:
        kind: "pulses", "machines", "marked" or "sounds".
    """

    kind: str
    name: str = "made"
    seed: int = 0


def load_made(options: MadeOptions) -> Data:
    """Makes the data set, the same for the same seed.

    Raises:
        DataError: there is none of that kind.
    """
    if options.kind not in KINDS:
        raise DataError(f"data.kind is '{options.kind}'; allowed: {', '.join(KINDS)}.")
    return replace(KINDS[options.kind](options.seed), name=f"{options.name} {options.kind}")


def pulses(seed: int = 0) -> Data:
    """Heart rates (beats a minute) from a pulse wave that movement disturbs. A subject is in one split alone.

    A beat is a wave with two harmonics; breath and a slow drift lie on it, and steps, which the acceleration shows too.
    """
    rng = np.random.default_rng(seed)
    time = np.arange(PULSE_LENGTH) / PULSE_RATE
    x, y, group = [], [], []
    for subject in range(SUBJECTS):
        rest, shape = rng.uniform(55, 85), rng.uniform(0.2, 0.6, 2)
        for _ in range(PULSES):
            rate = rest + abs(rng.normal(0, 30))
            phase = 2 * np.pi * (rate / 60 * time + rng.uniform()) + 0.15 * np.sin(2 * np.pi * 0.25 * time)
            beat = np.sin(phase) + shape[0] * np.sin(2 * phase + 0.8) + shape[1] * np.sin(3 * phase + 1.7)
            steps, strength = rng.uniform(1.0, 2.8), rng.exponential(1.0)
            walk = np.sin(2 * np.pi * (steps * time[None] + rng.uniform(size=(3, 1)))) * rng.uniform(0.3, 1, (3, 1))
            axes = strength * walk + rng.normal(0, 0.1, (3, PULSE_LENGTH))
            drift = rng.normal(0, 0.5) * time / time[-1] + 0.3 * np.sin(2 * np.pi * 0.25 * time)
            light = 0.6 * beat + drift + 1.5 * strength * walk.mean(0) + rng.normal(0, 0.6, PULSE_LENGTH)
            x.append(np.concatenate([light[None], axes]))
            y.append(rate)
            group.append(subject)
    owners = np.array(group)
    parts = {"train": owners < SPLIT[0], "val": (owners >= SPLIT[0]) & (owners < SPLIT[1]), "test": owners >= SPLIT[1]}
    arrays: dict[str, np.ndarray] = {}
    for split, inside in parts.items():
        arrays |= {f"x_{split}": np.array(x, np.float32)[inside], f"y_{split}": np.array(y, np.float32)[inside]}
        arrays[f"g_{split}"] = owners[inside]
    return from_arrays(arrays, has_channels=True, targets="numbers", names=["beats a minute"])


def machines(seed: int = 0) -> Data:
    """The hum of a rotating machine. Anomalies have a bearing that knocks, a shaft that is out of balance, or a rub."""
    rng = np.random.default_rng(seed)
    counts = {"train": (NORMAL, 0), "val": (TESTED // 2, TESTED // 2), "test": (TESTED // 2, TESTED // 2)}
    arrays: dict[str, np.ndarray] = {}
    for split, (normal, wrong) in counts.items():
        spectra = [_spectrum(_hum(rng, "")) for _ in range(normal)]
        spectra += [_spectrum(_hum(rng, ("knock", "balance", "rub")[i % 3])) for i in range(wrong)]
        arrays[f"x_{split}"] = np.array(spectra, np.float32)
        if wrong:
            arrays[f"y_{split}"] = np.repeat([0, 1], (normal, wrong))
    return from_arrays(arrays, has_channels=False, targets="anomalies")


def _hum(rng: np.random.Generator, fault: str) -> np.ndarray:
    """(samples,) of a machine at one of three speeds."""
    count = FRAME + (FRAMES - 1) * FRAME // 2
    time = np.arange(count) / MACHINE_RATE
    speed = rng.choice((24.0, 31.0, 40.0)) * (1 + rng.normal(0, 0.01))
    parts = [rng.uniform(0.7, 1.3) / k * np.sin(2 * np.pi * (k * speed * time + rng.uniform())) for k in range(1, 9)]
    blades = 0.5 * np.sin(2 * np.pi * (7 * speed * time + rng.uniform())) * (1 + 0.2 * np.sin(2 * np.pi * speed * time))
    sound = sum(parts) + blades + rng.normal(0, 0.3, count)
    if fault == "knock":
        knocks = (np.modf(3.6 * speed * time + rng.uniform())[0] < 3.6 * speed / MACHINE_RATE).astype(float)
        ring = np.exp(-np.arange(60) / 12) * np.sin(2 * np.pi * 1300 * np.arange(60) / MACHINE_RATE)
        sound = sound + rng.uniform(0.6, 1.5) * np.convolve(knocks, ring)[:count]
    elif fault == "balance":
        sound = sound + rng.uniform(1.0, 2.0) * np.sin(2 * np.pi * (speed * time + rng.uniform()))
    elif fault == "rub":
        band = np.convolve(rng.normal(0, 1, count), np.cos(2 * np.pi * 900 * np.arange(40) / MACHINE_RATE), "same") / 6
        sound = sound + rng.uniform(0.5, 1.2) * band * (1 + np.sin(2 * np.pi * speed * time))
    return np.asarray(sound * rng.uniform(0.8, 1.25))


def _spectrum(sound: np.ndarray) -> np.ndarray:
    """(FRAMES, BANDS), decibels."""
    frames = np.lib.stride_tricks.sliding_window_view(sound, FRAME)[:: FRAME // 2]
    power = np.abs(np.fft.rfft(frames * np.hanning(FRAME))[:, 1:]) ** 2
    return np.asarray(10 * np.log10(power.reshape(len(frames), BANDS, -1).mean(2) + 1e-6))


def marked(seed: int = 0) -> Data:
    """Series with narrow and wide waves on a baseline that wanders, and which of the three stands at each place."""
    rng = np.random.default_rng(seed)
    x, y = np.zeros((SERIES, 1, LENGTH), np.float32), np.zeros((SERIES, LENGTH), np.int64)
    place = np.arange(LENGTH)
    for row in range(SERIES):
        x[row, 0] = np.cumsum(rng.normal(0, 0.05, LENGTH)) + rng.normal(0, 0.15, LENGTH)
        start = rng.integers(2, 20)
        while start < LENGTH - 28:
            kind, width = (1, rng.integers(5, 9)) if rng.random() < 0.5 else (2, rng.integers(14, 24))
            inside = (place >= start) & (place < start + width)
            x[row, 0, inside] += rng.uniform(0.7, 1.4) * np.sin(np.pi * (place[inside] - start + 0.5) / width)
            y[row, inside] = kind
            start += width + rng.integers(8, 30)
    return from_arrays({"x_train": x, "y_train": y}, has_channels=True, targets="masks")


def sounds(seed: int = 0) -> Data:
    """A second of noise in which some of five sounds are heard, at any time and loudness, as log-mel features.

    Tones that rise, tones that fall, beeps, clicks, and the hum of a voice.
    """
    rng = np.random.default_rng(seed)
    x = np.zeros((SOUNDS, SOUND_RATE))
    y = (rng.random((SOUNDS, len(HEARD))) < HEARD_SHARE).astype(np.int64)
    for sound, tags in zip(x, y, strict=True):
        sound += rng.normal(0, rng.uniform(0.01, 0.05), SOUND_RATE)
        for tag in np.flatnonzero(tags):
            part, start = _event(rng, HEARD[tag]), int(rng.integers(0, SOUND_RATE // 2))
            end = min(SOUND_RATE, start + len(part))
            sound[start:end] += rng.uniform(0.05, 0.3) * part[: end - start]
    samples = (np.clip(x, -1, 1) * np.iinfo(np.int16).max).astype(np.int16)
    frontend = FrontEndOptions(kind="log_mel", bins=20, frame_ms=40.0, hop_ms=20.0)
    arrays: dict[str, np.ndarray] = {"x_train": samples, "y_train": y}
    return from_arrays(arrays, targets="tags", names=list(HEARD), rate=SOUND_RATE, frontend=frontend)


def _event(rng: np.random.Generator, name: str) -> np.ndarray:
    """(samples,), -1 to 1."""
    time = np.arange(int(rng.uniform(0.25, 0.5) * SOUND_RATE)) / SOUND_RATE
    low, high = rng.uniform(300, 700), rng.uniform(1500, 3000)
    along = time / time[-1]
    if name in ("rise", "fall"):
        hertz = low + (high - low) * (along if name == "rise" else 1 - along)
        found = np.sin(2 * np.pi * np.cumsum(hertz) / SOUND_RATE)
    elif name == "beeps":
        found = np.sin(2 * np.pi * rng.uniform(800, 2500) * time) * (np.modf(rng.uniform(6, 12) * time)[0] < 0.5)
    elif name == "clicks":
        found = rng.normal(0, 0.5, len(time)) * np.exp(-60 * np.modf(rng.uniform(8, 16) * time)[0] / 8)
    else:
        pitch = rng.uniform(90, 220)
        found = np.sum([np.sin(2 * np.pi * k * pitch * time + rng.uniform(0, 6)) / k for k in range(1, 8)], 0) / 2
    return np.asarray(found * np.minimum(1, 20 * np.minimum(along, 1 - along)))


KINDS: dict[str, Callable[[int], Data]] = {"pulses": pulses, "machines": machines, "marked": marked, "sounds": sounds}
