"""The data sets of the robustness benchmark: splits that share nothing, the same arrays every time, and refusals."""

import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from benchmarks import robust_data
from benchmarks.robust_data import SETS, made
from benchmarks.robust_signals import SPEAKERS, SUBJECTS, spoken_digits
from benchmarks.robust_sources import SourceMissing, Sources
from search.data.npz import NpzOptions, load_npz
from search.errors import UsageError

OWN = {  # those that need no file: how many examples there are, and of which shape
    "digits": ((1294, 144, 359), (1, 8, 8)),
    "noisy_digits": ((1080, 287, 430), (1, 16, 16)),
    "fashion": ((3000, 1000, 2000), (1, 28, 28)),
    "mnist1d": ((3500, 500, 1000), (1, 40)),
}


@pytest.mark.parametrize("name", OWN)
def test_a_run_reads_what_is_made(name, tmp_path):
    counts, shape = OWN[name]
    data = load_npz(NpzOptions(str(made(name, tmp_path, Sources())), has_channels=True))
    assert (len(data.train), len(data.val), len(data.test)) == counts
    assert data.input_shape == shape and len(data.classes) == 10


@pytest.mark.parametrize("name", ["noisy_digits", "mnist1d"])
def test_what_is_drawn_is_the_same_every_time(name, tmp_path):
    first, second = (np.load(made(name, tmp_path / place, Sources())) for place in "ab")
    assert first.files == second.files and all(np.array_equal(first[key], second[key]) for key in first.files)


def test_a_file_that_is_there_is_not_made_again(tmp_path):
    (tmp_path / "mnist1d.npz").write_bytes(b"made before")
    assert made("mnist1d", tmp_path, Sources()).read_bytes() == b"made before"


def test_noisy_digits_show_the_digits(tmp_path):
    """The nearest class mean recognises most of them, and far from all."""
    arrays = np.load(made("noisy_digits", tmp_path, Sources()))
    train, test = (arrays[f"x_{split}"].reshape(-1, 256).astype(float) for split in ("train", "test"))
    train, test = ((x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True) for x in (train, test))
    means = np.stack([train[arrays["y_train"] == label].mean(0) for label in range(10)])
    likeness = test @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T
    assert 0.4 < (likeness.argmax(1) == arrays["y_test"]).mean() < 0.8


@pytest.mark.parametrize("name", ["cifar10", "spoken_digits", "motion"])
def test_a_missing_source_is_named(name, tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.robust_signals.find_spec", lambda package: None)
    flag = name.replace("_", "-")
    with pytest.raises(SourceMissing, match=f"'{name}': .* Give it by --{flag} FILE or PICOJOULE_{name.upper()}"):
        made(name, tmp_path, Sources())
    assert not list(tmp_path.iterdir())


def test_sources_come_from_options_or_else_the_environment(monkeypatch):
    parser = robust_data.argparse.ArgumentParser()
    Sources.add_options(parser)
    monkeypatch.setenv("PICOJOULE_CIFAR10", "env.tar")
    monkeypatch.setenv("PICOJOULE_MOTION", "env.npy")
    sources = Sources.of(parser.parse_args(["--cifar10", "option.tar"]))
    assert (str(sources.cifar10), str(sources.motion), sources.spoken_digits) == ("option.tar", "env.npy", None)


def archive_of(path, train, test):
    """Two classes of grey images; an image's level is its number, and 128 more in test."""
    with tarfile.open(path, "w") as archive:
        for split, count, base in (("train", train, 0), ("test", test, 128)):
            for name in ("cat", "dog"):
                for number in range(count):
                    content = io.BytesIO()
                    Image.new("RGB", (8, 8), (base + 4 * number,) * 3).save(content, "JPEG")
                    member = tarfile.TarInfo(f"data/{split}/{name}/{number:04}.jpg")
                    member.size = content.tell()
                    content.seek(0)
                    archive.addfile(member, content)
    return path


def test_images_of_an_archive_are_in_one_split_each(tmp_path, monkeypatch):
    monkeypatch.setattr(robust_data, "CIFAR_CLASS", {"train": 10, "val": 4, "test": 3})
    source = archive_of(tmp_path / "images.tar", train=16, test=5)
    arrays = np.load(made("cifar10", tmp_path, Sources(cifar10=source)))
    assert arrays["x_train"].shape == (20, 3, 8, 8) and arrays["y_train"].tolist() == [0] * 10 + [1] * 10
    levels = {split: arrays[f"x_{split}"][:, 0, 0, 0] for split in ("train", "val", "test")}
    assert levels["test"].min() >= 128 > levels["train"].max()
    for label in (0, 1):  # 14 different images of a class
        own = np.concatenate([levels[split][arrays[f"y_{split}"] == label] for split in ("train", "val")])
        assert len(set(own.tolist())) == 14


def test_an_archive_that_is_none_is_refused(tmp_path):
    (tmp_path / "images.tar").write_text("no archive")
    with pytest.raises(UsageError, match=r"images.tar: no archive of train/CLASS"):
        made("cifar10", tmp_path, Sources(cifar10=tmp_path / "images.tar"))


@pytest.fixture
def clips(tmp_path):
    """Five clips of noise of every speaker, each twice as loud as the one before. The label is the speaker's number."""
    speakers = [speaker for split in SPEAKERS for speaker in split for _ in range(5)]
    noise = np.random.default_rng(0).integers(-1000, 1000, 8000)
    x = np.stack([noise * 2 ** (number % 5) for number in range(len(speakers))]).astype(np.int16)
    path = tmp_path / "clips.npz"
    np.savez(path, x=x, y=np.arange(len(x)) // 5, speaker=np.array(speakers), length=np.full(len(x), 8000))
    return path


def test_who_speaks_in_test_is_heard_nowhere_else(clips):
    arrays = spoken_digits(Sources(spoken_digits=clips), np.random.default_rng(0))
    assert arrays["x_train"].shape == (16, 1, 49, 10)
    counts = [np.bincount(arrays[f"y_{split}"], minlength=6).tolist() for split in ("train", "val", "test")]
    assert counts == [[4, 4, 4, 4, 0, 0], [1, 1, 1, 1, 0, 0], [0, 0, 0, 0, 5, 5]]


def test_loudness_is_in_the_first_coefficient_alone(clips):
    quiet, loud = spoken_digits(Sources(spoken_digits=clips), np.random.default_rng(0))["x_test"][:2, 0]
    assert np.allclose(quiet[:, 1:], loud[:, 1:], atol=1e-4) and (loud[:, 0] > quiet[:, 0]).all()


def test_windows_of_a_subject_are_in_one_split(tmp_path):
    subjects = np.array([subject for split in SUBJECTS for subject in split])
    series = [np.full((256, 6), float(subject)) for subject in subjects]  # windows begin at 0, 64 and 128
    series[0] = series[0][:191]  # and here at 0 alone
    np.save(tmp_path / "watch.npy", {"X": series, "y": subjects - 1, "subject": subjects}, allow_pickle=True)
    arrays = np.load(made("motion", tmp_path, Sources(motion=tmp_path / "watch.npy")))
    assert arrays["x_train"].shape == (16, 6, 128) and arrays["x_test"].shape == (6, 6, 128)
    for split, expected in zip(("train", "val", "test"), SUBJECTS, strict=True):
        assert set(arrays[f"x_{split}"].ravel()) == set(expected)
        assert (arrays[f"x_{split}"][:, 0, 0] == arrays[f"y_{split}"] + 1).all()


def test_people_without_an_example_are_named(tmp_path):
    np.save(tmp_path / "watch.npy", {"X": [np.zeros((128, 6))], "y": [0], "subject": [1]}, allow_pickle=True)
    with pytest.raises(UsageError, match=r"no examples of \['10', '2', .*Give the whole data set"):
        made("motion", tmp_path, Sources(motion=tmp_path / "watch.npy"))


def test_every_set_is_tested_here():
    assert OWN.keys() | {"cifar10", "spoken_digits", "motion"} == SETS.keys()
