"""Front ends of data sets: from folders and arrays of sound to features, and what cannot be."""

import numpy as np
import pytest
import torch
from scipy.io import wavfile

from search.config import composed
from search.data import DataError, from_arrays, load
from search.data.audio_folder import AudioFolderOptions
from search.data.npz import NpzOptions
from search.data.sound import FrontEndOptions
from search.integer.frontend import IMAGE, LOG_MEL, MFCC, SEQUENCE
from tests.search.data.tones import RATE, SAMPLES, arrays, tones

LOG = FrontEndOptions(LOG_MEL, bins=12)


@pytest.mark.parametrize(
    "options, shape",
    [
        (LOG, (1, 12, 11)),
        (FrontEndOptions(MFCC, bins=12, coefficients=5, layout=SEQUENCE), (5, 11)),
        (FrontEndOptions(LOG_MEL, frame_ms=20, hop_ms=20, bins=8, low_hz=100, high_hz=3000, layout=SEQUENCE), (8, 10)),
    ],
)
def test_arrays_become_the_features_that_a_program_makes(options: FrontEndOptions, shape: tuple[int, ...]):
    given = arrays()
    data = from_arrays(given, rate=RATE, frontend=options)
    assert data.input_shape == shape and data.train.images.dtype == torch.uint8
    assert data.frontend.rate == RATE and data.frontend.high == (options.high_hz or RATE / 2)
    for name in ("train", "val", "test"):
        np.testing.assert_array_equal(data.split(name).images.numpy(), data.frontend(given[f"x_{name}"]))
    assert data.preprocessing.frontend == data.frontend
    assert data.preprocessing.raw_shape(data.input_shape) == (SAMPLES,)
    assert data.preprocessing.grid is not None  # every feature is its own code
    assert "the network reads" in data.notes[-1] and f"in {shape[-1]} frames" in data.notes[-1]


def test_offsets_are_those_of_training_sounds_alone():
    given = arrays()
    loud = {**given, "x_test": np.clip(3.9 * given["x_test"].astype(int), -(2**15), 2**15 - 1).astype(np.int16)}
    assert from_arrays(given, rate=RATE, frontend=LOG).frontend == from_arrays(loud, rate=RATE, frontend=LOG).frontend
    part = {name: given[name] for name in ("x_train", "y_train")}  # splits are carved out before
    data = from_arrays(part, rate=RATE, frontend=LOG)
    own = part["x_train"][data.train.indices.numpy()]
    np.testing.assert_array_equal(data.frontend(own), data.train.images.numpy())
    assert data.frontend.fitted(data.frontend.features(own)) == data.frontend


def test_a_file_of_arrays_has_a_front_end(tmp_path):
    np.savez(tmp_path / "mine.npz", **arrays())
    data = load(NpzOptions(file=str(tmp_path / "mine.npz"), rate=RATE, frontend=LOG))
    assert data.input_shape == (1, 12, 11)


def test_sounds_of_a_folder_are_rounded_to_int16(tmp_path):
    for number, sound in enumerate(tones(40)):
        folder = tmp_path / "sounds" / ("low", "high")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        plain = sound / 2**15 if number % 4 > 1 else sound  # int16, and float32 of -1 to 1
        wavfile.write(folder / f"{number:02}.wav", RATE, plain if plain.dtype == np.int16 else plain.astype(np.float32))
    options = AudioFolderOptions(folder=str(tmp_path / "sounds"), frontend=LOG)
    data = load(options)
    assert data.input_shape == (1, 12, 11) and data.channels == "first"
    sounds = np.stack([wavfile.read(path)[1] for path in sorted((tmp_path / "sounds" / "high").iterdir())][:1])
    found = data.frontend(sounds)
    every = torch.cat([split.images for split in (data.train, data.val, data.test)]).numpy()
    assert (every == found).all((1, 2, 3)).any()
    whole = load(AudioFolderOptions(folder=str(tmp_path / "sounds"), seconds=0.25, frontend=LOG))
    assert whole.frontend.samples == 2000 and whole.input_shape == (1, 12, 14)


def test_samples_beyond_full_scale_are_clipped(tmp_path):
    for number, sound in enumerate(tones(40)):
        folder = tmp_path / ("low", "high")[number % 2]
        folder.mkdir(exist_ok=True)
        wavfile.write(folder / f"{number:02}.wav", RATE, (sound / 4000).astype(np.float32))  # to 2 and beyond
    data = load(AudioFolderOptions(folder=str(tmp_path), frontend=LOG))
    assert data.train.images.float().std() > 0


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"kind": "mel"}, r"data\.frontend\.kind is 'mel'; allowed: null, log_mel, mfcc"),
        ({"layout": "line"}, r"data\.frontend\.layout is 'line'; allowed: image, sequence"),
        ({"kind": None, "bins": 20}, r"data\.frontend: bins set, and data\.frontend\.kind is null"),
        ({"bins": 2.5}, r"data\.frontend\.bins is 2\.5; allowed: a whole number"),
        ({"frame_ms": float("nan")}, r"data\.frontend\.frame_ms is nan; allowed: a finite number"),
        ({"frame_ms": 300}, r"data\.frontend: frame 2400 found; 8 to 2048 allowed"),
        ({"frame_ms": 250}, r"data\.frontend: samples 1600 found; 2000 to .* allowed"),
        ({"hop_ms": 0}, r"data\.frontend: hop 0 found"),
        ({"bins": 120}, r"data\.frontend: 120 bins found; filter \d+ of them lies between two frequencies"),
        ({"high_hz": 5000}, r"data\.frontend: high 5000\.0 found; 20\.0 to 4000\.0 allowed"),
        ({"kind": MFCC, "coefficients": 13}, r"data\.frontend: coefficients 13 found; 1 to 12"),
    ],
)
def test_bad_options(changes, message):
    options = FrontEndOptions(
        **{"kind": LOG_MEL, "bins": 12 if "kind" not in changes or changes["kind"] else 40, **changes}
    )
    with pytest.raises(DataError, match=message):
        from_arrays(arrays(), rate=None if options.kind is None else RATE, frontend=options)


def test_sound_that_no_front_end_reads_is_refused():
    with pytest.raises(DataError, match=r"data\.rate is null; a front end needs the samples a second"):
        from_arrays(arrays(), frontend=LOG)
    with pytest.raises(DataError, match=r"data\.rate is 8000, and no front end reads it"):
        from_arrays(arrays(), rate=RATE)
    with pytest.raises(DataError, match=r"data\.rate is 8000\.5; allowed: a whole number over 0"):
        from_arrays(arrays(), rate=8000.5, frontend=LOG)
    floats = arrays(x_test=tones(8).astype(np.float32))
    with pytest.raises(DataError, match=r"x_test: float32 array of shape \(8, 1600\); a front end reads .* int16"):
        from_arrays(floats, rate=RATE, frontend=LOG)
    with pytest.raises(DataError, match=r"x_train: int16 array of shape \(24, 1, 1600\); a front end reads"):
        from_arrays({name: x[:, None] if x.ndim > 1 else x for name, x in arrays().items()}, rate=RATE, frontend=LOG)
    masks = {f"y_{name}": np.zeros((n, SAMPLES), int) for name, n in (("train", 24), ("val", 8), ("test", 8))}
    with pytest.raises(DataError, match="targets are masks, of the places of sound"):
        from_arrays(arrays(**masks), rate=RATE, frontend=LOG)
    with pytest.raises(DataError, match=r"data\.frontend is .*; allowed: FrontEndOptions"):
        from_arrays(arrays(), rate=RATE, frontend={"kind": LOG_MEL})


@pytest.mark.parametrize("name, needed", [("npz", "data.file=a.npz"), ("audio_folder", "data.folder=sounds")])
def test_a_front_end_is_set_on_the_command_line(name: str, needed: str):
    settings = composed([f"data={name}", needed, "data.rate=8000", "data.frontend.kind=mfcc", "data.frontend.bins=20"])
    assert settings.data.frontend == FrontEndOptions(MFCC, bins=20)
    assert composed([f"data={name}", needed]).data.frontend == FrontEndOptions() and FrontEndOptions().layout == IMAGE
