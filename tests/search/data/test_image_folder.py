"""Folders of images: what is read, and every way in which a folder can be wrong."""

import numpy as np
import pytest
import torch
from PIL import Image

from search.data import DataError, load
from search.data.image_folder import ImageFolderOptions


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, dtype=np.uint8)).save(path)


def grey(value, size=(6, 8)):
    return np.full(size, value)


def colour(value, size=(6, 8)):
    return np.broadcast_to(np.array([value, value + 1, value + 2]), (*size, 3))


@pytest.fixture
def root(tmp_path):
    """Two classes with 10 images each in train, 2 each in val and test; the pixels are the number of the image."""
    for split, count in (("train", 10), ("val", 2), ("test", 2)):
        for offset, name in ((0, "cat"), (100, "dog")):
            for i in range(count):
                write(tmp_path / split / name / f"{i}.png", grey(offset + i))
    return tmp_path


def read(root, **options):
    return load(ImageFolderOptions(folder=str(root), **options))


def test_pixels_labels_and_classes(root):
    data = read(root)
    assert data.classes == ("cat", "dog")
    assert data.input_shape == (1, 6, 8) and data.train.images.dtype == torch.uint8
    assert data.train.images[:, 0, 5, 7].tolist() == [*range(10), *range(100, 110)]
    assert data.train.targets.tolist() == [0] * 10 + [1] * 10
    assert data.test.images[:, 0, 0, 0].tolist() == [0, 1, 100, 101]


def test_one_image_with_colour_gives_all_three_channels(root):
    write(root / "val" / "dog" / "1.png", colour(50))
    data = read(root)
    assert data.val.images[3, :, 2, 2].tolist() == [50, 51, 52]
    assert data.train.images[1, :, 2, 2].tolist() == [1, 1, 1]


@pytest.mark.parametrize("turned, expected", [(1, [0, 50]), (3, [50, 0]), (6, [0, 50])])
def test_photos_are_turned_as_they_were_taken(root, turned, expected):
    """Orientation 3 is upside down. With 6 the top of the photo is the left side of what is stored."""
    pixels = np.repeat([[0], [50]], [3, 3], axis=0) * np.ones((1, 8), np.int64)
    stored = pixels.T if turned == 6 else pixels
    image = Image.fromarray(np.asarray(stored, dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = turned
    image.save(root / "val" / "dog" / "1.png", exif=exif)
    column = read(root).val.images[3, 0, :, 0].tolist()
    assert [column[0], column[5]] == expected


def test_jpeg_and_capital_suffixes_are_read_and_other_files_are_not(root):
    write(root / "val" / "cat" / "2.JPG", grey(7))
    write(root / "val" / "cat" / "3.jpeg", grey(8))
    (root / "val" / "cat" / "notes.txt").write_text("not an image")
    (root / "val" / ".thumbnails").mkdir()
    assert len(read(root).val) == 6


def test_resize_brings_all_to_height_and_width(root):
    write(root / "train" / "cat" / "wide.png", grey(3, (9, 31)))
    data = read(root, size=[4, 5])
    assert data.input_shape == (1, 4, 5)
    assert data.train.images[10].unique().tolist() == [3]


def test_another_size_is_named(root):
    write(root / "train" / "dog" / "wide.png", grey(3, (9, 31)))
    with pytest.raises(DataError, match=r"dog/wide\.png: size is \[9, 31\].*\[6, 8\].*Set data\.size to resize them"):
        read(root)


def test_missing_splits_are_carved_from_train(tmp_path):
    for name in ("cat", "dog"):
        for i in range(50):
            write(tmp_path / "train" / name / f"{i}.png", grey(i))
    data = read(tmp_path)
    assert [len(split) for split in (data.train, data.val, data.test)] == [72, 8, 20]


@pytest.mark.parametrize("split", ["train", "test"])
def test_empty_class_folder_is_named(root, split):
    (root / split / "emu").mkdir()
    (root / "train" / "emu").mkdir(exist_ok=True)
    if split == "test":
        write(root / "train" / "emu" / "0.png", grey(1))
    with pytest.raises(DataError, match=f"{split}/emu: class folder without images; at least one of .png, .jpg, .jpeg"):
        read(root)


def test_class_that_train_lacks_is_named(root):
    write(root / "test" / "emu" / "0.png", grey(1))
    with pytest.raises(DataError, match="test/emu: class 'emu' is not in train, which has cat, dog"):
        read(root)


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n"])
def test_unreadable_image_is_named(root, content):
    (root / "train" / "dog" / "broken.png").write_bytes(content)
    with pytest.raises(DataError, match=r"train/dog/broken\.png: cannot be read as an image"):
        read(root)


def test_truncated_image_is_named(root):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64))
    write(root / "train" / "dog" / "cut.png", noise)
    content = (root / "train" / "dog" / "cut.png").read_bytes()
    (root / "train" / "dog" / "cut.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"train/dog/cut\.png: cannot be read as an image"):
        read(root)


def test_sixteen_bit_pixels_are_refused_not_clipped(root):
    Image.fromarray(np.full((6, 8), 1000, dtype=np.uint16)).save(root / "train" / "dog" / "deep.png")
    with pytest.raises(DataError, match=r"deep\.png: pixels are of mode I;16"):
        read(root)


def test_folder_without_train(tmp_path):
    with pytest.raises(DataError, match="train: no class folders found"):
        read(tmp_path)


@pytest.mark.parametrize("size", [[8], [0, 8]])
def test_impossible_size(root, size):
    with pytest.raises(DataError, match=r"data\.size is \[.*allowed is \[height, width\]"):
        read(root, size=size)
