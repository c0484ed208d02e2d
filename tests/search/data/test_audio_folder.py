"""Folders of sounds: rates, channels, lengths, speakers, and unreadable files."""

import numpy as np
import pytest
from scipy.io import wavfile

from search.data import DataError, load
from search.data.audio_folder import AudioFolderOptions

RATE, LENGTH = 800, 80


def tone(pitch: float, length: int = LENGTH, rate: int = RATE) -> np.ndarray:
    return np.sin(2 * np.pi * pitch * np.arange(length) / rate)


def write(folder, name: str, sound: np.ndarray, rate: int = RATE, kind: str = "int16") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    scaled = sound * 0.5
    plain = scaled.astype(np.float32) if kind == "float32" else np.round(scaled * 32767).astype(np.int16)
    if kind == "uint8":
        plain = np.round(scaled * 127 + 128).astype(np.uint8)
    wavfile.write(folder / name, rate, plain)


@pytest.fixture
def root(tmp_path):
    for word, pitch in (("yes", 40), ("no", 90)):
        for speaker in ("ann", "bob", "eve", "max"):
            for take in range(4):
                write(tmp_path / "sounds" / word, f"{speaker}_{take}.wav", tone(pitch + take))
    return tmp_path / "sounds"


def loaded(root, **options):
    return load(AudioFolderOptions(folder=str(root), **options))


def test_sounds_of_all_types_lie_from_minus_one_to_one(root):
    for kind in ("uint8", "float32"):
        write(root / "yes", f"ann_{kind}.wav", tone(40), kind=kind)
    data = loaded(root)
    assert data.classes == ("no", "yes") and data.input_shape == (1, LENGTH)
    every = np.concatenate([split.images.numpy() for split in (data.train, data.val, data.test)])
    assert len(every) == 34 and 0.45 < np.abs(every).max() <= 0.51


def test_speakers_are_on_one_side_of_a_split(root):
    data = loaded(root, speaker="^([a-z]+)_")
    assert [len(split) for split in (data.train, data.val, data.test)] == [16, 8, 8]
    write(root.parent / "two" / "train" / "yes", "ann_1.wav", tone(40))
    write(root.parent / "two" / "test" / "yes", "ann_2.wav", tone(40))
    with pytest.raises(DataError, match=r"groups \[0\] \(1 in all\) are in split 'train' and in split 'test'"):
        loaded(root.parent / "two", speaker="^([a-z]+)_")


def test_another_rate_is_refused_or_resampled(root):
    write(root / "yes", "zoe_0.wav", tone(40, 2 * LENGTH, 2 * RATE), 2 * RATE)
    with pytest.raises(DataError, match=rf"zoe_0\.wav: has {2 * RATE} samples a second, and {RATE} are expected"):
        loaded(root)
    data = loaded(root, rate=RATE, resample=True)
    every = np.concatenate([split.images.numpy() for split in (data.train, data.val, data.test)])
    apart = np.abs(every[:, 0] - 0.5 * tone(40)).max(1)
    assert (apart < 0.05).sum() == 5  # those of the first take, and the one that was resampled


def test_channels_are_refused_or_mixed(root):
    write(root / "yes", "zoe_0.wav", np.stack([tone(40), -tone(40)], 1))
    with pytest.raises(DataError, match=r"zoe_0\.wav: has 2 channels; allowed is one\. Set data\.mix=true"):
        loaded(root)
    data = loaded(root, mix=True)
    every = np.concatenate([split.images.numpy() for split in (data.train, data.val, data.test)])
    assert (np.abs(every).max((1, 2)) < 1e-3).sum() == 1


def test_lengths_are_refused_or_brought_to_one(root):
    write(root / "yes", "zoe_0.wav", tone(40, LENGTH // 2))
    with pytest.raises(
        DataError, match=rf"sounds have {LENGTH // 2} to {LENGTH} samples; .* data\.seconds, for example 0\.1"
    ):
        loaded(root)
    assert loaded(root, seconds=0.05).input_shape == (1, 40)
    assert loaded(root, seconds=0.2).input_shape == (1, 160)


def test_unreadable_files_are_named_counted_and_refused_above_a_share(root):
    (root / "yes" / "bad_0.wav").write_bytes(b"RIFF nonsense")
    (root / "no" / "bad_1.wav").write_bytes(b"")
    with pytest.raises(DataError, match=r"2 of 34 files cannot be read: .*bad_1\.wav .*bad_0\.wav .* data\.unreadable"):
        loaded(root)
    assert "2 files cannot be read and are left out" in loaded(root, unreadable=0.1).notes[-1]


@pytest.mark.parametrize(
    "change, said",
    [
        ({"rate": 0}, r"data\.rate is 0; allowed: a number over 0"),
        ({"resample": True}, r"data\.resample is true and data\.rate is null"),
        ({"unreadable": 1.0}, r"data\.unreadable is 1\.0; allowed: a share"),
        ({"speaker": "("}, r"data\.speaker is '\(', which is no regular expression"),
        ({"speaker": "nobody"}, r"data\.speaker 'nobody' finds nobody in its name; it needs a group"),
    ],
)
def test_bad_options(root, change, said):
    with pytest.raises(DataError, match=said):
        loaded(root, **change)


def test_folders_without_sounds(tmp_path):
    with pytest.raises(DataError, match=r"no folders found; expected WORD/\*\.wav"):
        loaded(tmp_path)
    (tmp_path / "yes").mkdir()
    with pytest.raises(DataError, match=r"yes: no \.wav in it"):
        loaded(tmp_path)
