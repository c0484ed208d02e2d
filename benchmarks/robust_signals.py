"""Data sets of `python -m benchmarks.robust` that are signals over time: speech, motion and generated ones."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.fft import dct
from scipy.ndimage import gaussian_filter1d

from benchmarks.robust_sources import Arrays, Sources, arrays_of, missing
from search.data.arrays import read_npz
from search.data.splits import stratified
from search.errors import UsageError

# Speech: frames of 40 ms every 20 ms, as DS-CNN has them (Zhang et al., arXiv 1711.07128).
RATE, FRAME, HOP, TRANSFORM = 8000, 320, 160, 512  # Hz, samples
BANDS, COEFFICIENTS, LOWEST = 40, 10, 20.0  # the last in Hz
FLOOR = 1e-4  # of the mean energy of a clip: padding and silence are no quieter
SPEAKERS = (("george", "jackson", "lucas", "nicolas"), ("theo", "yweweler"))  # training and validation, test
TRAIN_SHARE = 0.8  # of the clips of each digit by each of the former; the others are for validation

# Motion: windows of 2.56 s at 50 Hz, each of which shares half of its samples with the next.
WINDOW, STEP = 128, 64
SUBJECTS = ((1, 2, 3, 4, 5, 6), (7, 8), (9, 10))  # training, validation, test

# MNIST-1D: what stands in the paper (Greydanus, Kobak, arXiv 2011.14439) for its signals.
LENGTH, TRAIN, VAL, TEST = 40, 3500, 500, 1000
PADDING, PADDED, MOST_SHIFT = (36, 60), 72, 48
SCALE, SHEAR, SMOOTH_NOISE, SMOOTHNESS, NOISE = 0.4, 0.75, 0.25, 2.0, 0.02
TEMPLATES = (
    (5, 6, 6.5, 6.75, 7, 7, 7, 7, 6.75, 6.5, 6, 5),
    (5, 3, 3, 3.4, 3.8, 4.2, 4.6, 5, 5.4, 5.8, 5, 5),
    (5, 6, 6.5, 6.5, 6, 5.25, 4.75, 4, 3.5, 3.5, 4, 5),
    (5, 6, 6.5, 6.5, 6, 5, 5, 6, 6.5, 6.5, 6, 5),
    (5, 4.4, 3.8, 3.2, 2.6, 2.6, 5, 5, 5, 5, 5, 5),
    (5, 3, 3, 3, 3, 5, 6, 6.5, 6.5, 6, 4.5, 5),
    (5, 4, 3.5, 3.25, 3, 3, 3, 3, 3.25, 3.5, 4, 5),
    (5, 7, 7, 6.6, 6.2, 5.8, 5.4, 5, 4.6, 4.2, 5, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 4, 3.5, 3.5, 4, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 5, 5, 4.7, 4.3, 5),
)


def spoken_digits(sources: Sources, rng: np.random.Generator) -> Arrays:
    """Ten mel-frequency cepstral coefficients of 49 frames, (N, 1, 49, 10) float32.

    Those who speak in test are heard nowhere else. Validation has other clips of those who speak in training: with one
    speaker alone it would say little of others. Each coefficient has mean 0 and deviation 1 in training data.
    """
    clips = _clips(sources)
    features = np.stack([_cepstrum(clip[:length]) for clip, length in zip(clips["x"], clips["length"], strict=True)])
    splits = _by_speaker(clips, str(sources.spoken_digits))
    heard = features[splits[0]]
    features = ((features - heard.mean((0, 1))) / heard.std((0, 1))).astype(np.float32)[:, None]
    return arrays_of([features[split] for split in splits], [clips["y"][split] for split in splits])


def raw_spoken_digits(sources: Sources) -> Arrays:
    """A second of each clip as it was recorded, (N, 8000) int16, in the splits of `spoken_digits`."""
    clips = _clips(sources)
    splits = _by_speaker(clips, str(sources.spoken_digits))
    return arrays_of([clips["x"][split] for split in splits], [clips["y"][split] for split in splits])


def _by_speaker(clips: Arrays, place: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Indices of the clips for training, validation and test."""
    known, test = (part.nonzero()[0] for part in _chosen(clips["speaker"], SPEAKERS, place))
    kinds = np.unique([f"{clips['speaker'][i]} {clips['y'][i]}" for i in known], return_inverse=True)[1]
    train, val = stratified(torch.from_numpy(kinds), round(TRAIN_SHARE * len(known)))
    return known[train.numpy()], known[val.numpy()], test


def _clips(sources: Sources) -> Arrays:
    if sources.spoken_digits is None:
        raise missing("spoken_digits", "the Free Spoken Digit Dataset, a .npz file of x, y, speaker and length")
    clips = dict(read_npz(sources.spoken_digits))
    lacking = {"x", "y", "speaker", "length"} - clips.keys()
    if lacking:
        raise UsageError(f"{sources.spoken_digits}: lacks {sorted(lacking)}. Give the file that has them.")
    return clips


def _cepstrum(clip: np.ndarray) -> np.ndarray:
    """(49, 10) of a clip of int16 samples, of which no more than a second counts. What is missing is silence."""
    second = np.zeros(RATE)
    second[: len(clip)] = clip[:RATE]
    frames = np.lib.stride_tricks.sliding_window_view(second, FRAME)[::HOP]  # shape: (49, FRAME)
    power = np.abs(np.fft.rfft(frames * np.hanning(FRAME), TRANSFORM)) ** 2
    bands = power @ _mel_filters()
    return np.asarray(dct(np.log(bands + FLOOR * bands.mean() + 1e-9), norm="ortho")[:, :COEFFICIENTS])


def _mel_filters() -> np.ndarray:
    """(TRANSFORM / 2 + 1, BANDS): triangles whose corners are equally far apart in mel."""
    low, high = (2595 * np.log10(1 + hertz / 700) for hertz in (LOWEST, RATE / 2))
    corners = 700 * (10 ** (np.linspace(low, high, BANDS + 2) / 2595) - 1)
    bins = np.fft.rfftfreq(TRANSFORM, 1 / RATE)[:, None]
    rising = (bins - corners[:-2]) / np.diff(corners)[:-1]
    falling = (corners[2:] - bins) / np.diff(corners)[1:]
    return np.maximum(0, np.minimum(rising, falling))


def motion(sources: Sources, rng: np.random.Generator) -> Arrays:
    """Acceleration and turning at the wrist in seven exercises, (N, 6, 128) float32. Each subject is in one split."""
    source = sources.motion or _file_of_seglearn()
    if source is None:
        raise missing("motion", "watch_dataset.npy of the package seglearn (pip install 'picojoule[benchmarks]')")
    try:
        found = np.load(source, allow_pickle=True).item()  # the package has it as pickled objects
        series, exercise, subject = found["X"], found["y"], found["subject"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{source}: is not watch_dataset.npy of seglearn ({error}). Give that file.") from error
    windows = [np.lib.stride_tricks.sliding_window_view(each, WINDOW, 0)[::STEP] for each in series]
    counts = [len(each) for each in windows]
    x = np.concatenate(windows).astype(np.float32)
    chosen = _chosen(np.repeat(subject, counts), SUBJECTS, str(source))
    return arrays_of([x[part] for part in chosen], [np.repeat(exercise, counts)[part] for part in chosen])


def _file_of_seglearn() -> Path | None:
    """Found without an import: the data is what counts, and the package may be too old for the NumPy that is here."""
    package = find_spec("seglearn")
    return Path(package.origin).with_name("data") / "watch_dataset.npy" if package and package.origin else None


def _chosen(who: np.ndarray, splits: Sequence[Sequence[Any]], place: str) -> list[np.ndarray]:
    """For each split (N,) bool. Raises UsageError where one of the people of a split has no example."""
    absent = sorted({str(one) for split in splits for one in split} - {str(one) for one in who})
    if absent:
        raise UsageError(f"{place}: no examples of {absent}, who are in a split. Give the whole data set.")
    return [np.isin(who, list(split)) for split in splits]


def mnist1d(sources: Sources, rng: np.random.Generator) -> Arrays:
    """Ten shapes, each moved, scaled, sheared and in noise, (N, 1, 40) float32. Made as published, with other draws."""
    shapes = np.array(TEMPLATES, dtype=float)
    shapes = (shapes - shapes.mean(1, keepdims=True)) / shapes.std(1, keepdims=True)
    shapes = (shapes - shapes[:, :1]) / 6  # begin and end at 0
    labels = rng.permutation(np.arange(TRAIN + VAL + TEST) % len(shapes))
    x = np.stack([_signal(shapes[label], rng) for label in labels])
    x = ((x - x.mean()) / x.std()).astype(np.float32)[:, None]
    ends = (TRAIN, TRAIN + VAL)
    return arrays_of(np.split(x, ends), np.split(labels, ends))


def _signal(shape: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(40,). Where the shape is not, smooth noise is."""
    silence = rng.integers(PADDING[0], PADDING[1], endpoint=True)
    x = _resampled(np.concatenate([shape + 1e-8, np.zeros(silence)]), PADDED)
    x = np.roll(x * (1 + SCALE * (rng.random() - 0.5)), rng.integers(MOST_SHIFT))
    x = np.where(x != 0, x, gaussian_filter1d(SMOOTH_NOISE * rng.standard_normal(PADDED), SMOOTHNESS))
    x = x + NOISE * rng.standard_normal(PADDED) - SHEAR * (rng.random() - 0.5) * np.linspace(-0.5, 0.5, PADDED)
    return _resampled(x, LENGTH)


def _resampled(x: np.ndarray, length: int) -> np.ndarray:
    return np.asarray(np.interp(np.linspace(0, 1, length), np.linspace(0, 1, len(x)), x))
