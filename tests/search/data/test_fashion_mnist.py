"""Fashion-MNIST: the shipped subset, IDX files, and the download (from a local folder in place of the network)."""

import gzip
import hashlib

import numpy as np
import pytest
import torch

from search.data import DataError, fashion_mnist, load, mini
from search.data.fashion_mnist import DEBIAN_FOLDER, FashionMnistOptions, read_split
from search.data.idx import parse_idx, read_idx
from search.data.make_fashion_mnist_mini import choose
from search.data.mini import FILE, FashionMnistMiniOptions


def idx(array):
    header = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, dtype=">u4").tobytes()
    return header + array.astype(np.uint8).tobytes()


def write_idx_files(folder, train=40, test=20):
    folder.mkdir(exist_ok=True)
    for prefix, count in (("train", train), ("t10k", test)):
        images = np.arange(count * 12).reshape(count, 3, 4) % 256
        for name, array in ((f"{prefix}-images-idx3", images), (f"{prefix}-labels-idx1", np.arange(count) % 10)):
            (folder / f"{name}-ubyte.gz").write_bytes(gzip.compress(idx(array)))


@pytest.fixture(scope="module")
def shipped():
    return load(FashionMnistMiniOptions())


def test_shipped_file_is_the_one_that_was_made():
    assert hashlib.sha256(FILE.read_bytes()).hexdigest() == mini.SHA256


def test_shipped_folder_is_small_and_licensed():
    assert sum(path.stat().st_size for path in FILE.parent.iterdir()) < 6_000_000
    assert "Zalando SE" in (FILE.parent / "LICENSE").read_text()


def test_shipped_splits_are_stratified(shipped):
    for split, count in ((shipped.train, 8000), (shipped.val, 2000), (shipped.test, 2000)):
        assert split.images.dtype == torch.uint8 and split.images.shape == (count, 1, 28, 28)
        assert torch.bincount(split.targets).tolist() == [count // 10] * 10


def test_shipped_splits_are_disjoint(shipped):
    seen = [{image.numpy().tobytes() for image in split.images} for split in (shipped.train, shipped.val, shipped.test)]
    assert not seen[0] & seen[1] and not seen[0] & seen[2] and not seen[1] & seen[2]


def test_a_damaged_shipped_file_is_refused(tmp_path, monkeypatch):
    damaged = tmp_path / "mini.npz"
    damaged.write_bytes(FILE.read_bytes()[:-1])
    monkeypatch.setattr(mini, "FILE", damaged)
    with pytest.raises(DataError, match=r"mini\.npz: SHA-256 is [0-9a-f]{64}; expected"):
        load(FashionMnistMiniOptions())


@pytest.mark.skipif(not DEBIAN_FOLDER.exists(), reason="needs the Debian package dataset-fashion-mnist")
def test_shipped_images_are_the_original_ones(shipped):
    made = choose(read_split(DEBIAN_FOLDER, "train"), read_split(DEBIAN_FOLDER, "t10k"))
    for name, split in made.items():
        assert torch.equal(split.images, shipped.split(name).images)
        assert torch.equal(split.targets, shipped.split(name).targets)


@pytest.mark.skipif(not DEBIAN_FOLDER.exists(), reason="needs the Debian package dataset-fashion-mnist")
@pytest.mark.parametrize("name", ["train-labels-idx1-ubyte", "t10k-images-idx3-ubyte"])
def test_checksums_are_those_of_the_original_content(name):
    content = gzip.decompress((DEBIAN_FOLDER / f"{name}.gz").read_bytes())
    assert hashlib.sha256(content).hexdigest() == fashion_mnist.SHA256[name]


def test_idx_reads_shape_and_values(tmp_path):
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    (tmp_path / "plain").write_bytes(idx(array))
    (tmp_path / "packed.gz").write_bytes(gzip.compress(idx(array)))
    for name in ("plain", "packed"):
        assert np.array_equal(read_idx(tmp_path, name), array)


@pytest.mark.parametrize(
    "content, found",
    [
        (b"", "starts with nothing"),
        (b"\x00\x00\x0d\x01\x00\x00\x00\x00", "starts with 00 00 0d 01"),
        (b"\x00\x00\x08\x02\x00", "starts with 00 00 08 02"),
        (idx(np.zeros((2, 3)))[:-1], r"holds 5 values, but its header states 6, shape \(2, 3\)"),
    ],
)
def test_idx_refuses_other_bytes(content, found):
    with pytest.raises(DataError, match=f"here: {found}"):
        parse_idx(content, "here")


def test_a_truncated_gzip_file_is_named(tmp_path):
    write_idx_files(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz: cannot be read"):
        load(FashionMnistOptions(folder=str(tmp_path)))


def test_a_folder_of_idx_files(tmp_path):
    write_idx_files(tmp_path)
    data = load(FashionMnistOptions(folder=str(tmp_path), train_images=20))
    assert data.input_shape == (1, 3, 4)
    assert [len(split) for split in (data.train, data.val, data.test)] == [20, 4, 20]
    assert data.classes[9] == "Ankle boot"
    assert torch.equal(data.test.targets, torch.arange(20) % 10)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="train-images-idx3-ubyte: cannot be read"):
        load(FashionMnistOptions(folder=str(tmp_path)))


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A folder that serves as the official address; no Debian package; an empty cache."""
    write_idx_files(tmp_path / "mirror")
    contents = {path.stem: gzip.decompress(path.read_bytes()) for path in (tmp_path / "mirror").iterdir()}
    monkeypatch.setattr(fashion_mnist, "SHA256", {k: hashlib.sha256(v).hexdigest() for k, v in contents.items()})
    monkeypatch.setattr(fashion_mnist, "URL", (tmp_path / "mirror").as_uri())
    monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", tmp_path / "none")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "mirror"


def test_download_fills_the_cache_once(mirror):
    downloaded = load(FashionMnistOptions())
    for path in mirror.iterdir():
        path.unlink()
    assert torch.equal(load(FashionMnistOptions()).train.images, downloaded.train.images)


def test_download_with_another_checksum_is_refused_and_not_kept(mirror, tmp_path):
    (mirror / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.zeros(20))))
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte\.gz has content of SHA-256 [0-9a-f]{64}; expected"):
        load(FashionMnistOptions())
    assert not list((tmp_path / "cache").rglob("t10k-labels*"))


def test_download_without_network_says_what_to_do(mirror):
    (mirror / "train-images-idx3-ubyte.gz").unlink()
    with pytest.raises(DataError, match=r"cannot be downloaded .* set data\.folder to it, or use fashion_mnist_mini"):
        load(FashionMnistOptions())


def test_downloads_are_encrypted():
    assert fashion_mnist.URL.startswith("https://")
