"""Arrays of the user's own: shapes, types, and bad input."""

import numpy as np
import pytest
import torch

from search.data import DataError, from_arrays, load
from search.data.npz import NpzOptions
from search.data.outliers import outliers


def arrays(shape=(4, 5), dtype=np.float32, **others):
    x = np.arange(30 * int(np.prod(shape))).reshape(30, *shape) % 100
    return {"x_train": x.astype(dtype), "y_train": np.arange(30) % 3, **others}


@pytest.fixture
def read(tmp_path):
    def write_and_read(content, **options):
        np.savez(tmp_path / "mine.npz", **content)
        return load(NpzOptions(file=str(tmp_path / "mine.npz"), **options))

    return write_and_read


@pytest.mark.parametrize(
    "shape, has_channels, expected",
    [
        ((4, 5), None, (1, 4, 5)),
        ((2, 4, 5), None, (2, 4, 5)),
        ((4, 5), True, (4, 5)),
        ((7,), None, (1, 7)),
        ((2, 4, 5), False, (1, 2, 4, 5)),
    ],
)
def test_channels(read, shape, has_channels, expected):
    assert read(arrays(shape), has_channels=has_channels).input_shape == expected


@pytest.mark.parametrize(
    "shape, options, expected",
    [
        ((6, 5, 3), {"channels_last": True}, (3, 6, 5)),
        ((7, 3), {"channels_last": True}, (3, 7)),
        ((7, 3), {"channels_last": True, "has_channels": True}, (3, 7)),
        ((7, 3), {"channels_last": False}, (1, 7, 3)),
        ((7, 3), {"has_channels": False}, (1, 7, 3)),
        ((6, 5, 3), {"channels_last": False}, (6, 5, 3)),
        ((3, 5, 3), {}, (3, 5, 3)),
        ((3, 4), {}, (1, 3, 4)),
    ],
)
def test_channels_may_come_last(read, shape, options, expected):
    content = arrays(shape)
    data = read({**content, "x_test": content["x_train"], "y_test": content["y_train"]}, **options)
    assert data.input_shape == expected
    x = content["x_train"]
    moved = np.moveaxis(x, -1, 1) if options.get("channels_last") else x.reshape(len(x), *expected)
    assert np.array_equal(data.test.images.numpy(), moved)


@pytest.mark.parametrize(
    "shape, options, read_as",
    [
        ((32, 32, 3), {}, "32 channels of 32 x 3"),
        ((32, 32, 1), {}, "32 channels of 32 x 1"),
        ((128, 3), {}, "images of one channel and 128 x 3 pixels"),
        ((128, 3), {"has_channels": True}, "128 channels of 3"),
    ],
)
def test_what_looks_like_channels_last_is_not_guessed(read, shape, options, read_as):
    message = (
        rf"x_train: shape \(30, .* would be read as {read_as}, but its last .* Set data\.channels_last .*from_arrays"
    )
    with pytest.raises(DataError, match=message):
        read(arrays(shape), **options)


def test_channels_last_without_channels_is_refused(read):
    with pytest.raises(DataError, match=r"x_train: data\.channels_last is true, but shape \(30, 7\) has no channels"):
        read(arrays((7,)), channels_last=True)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_arrays_of_any_strides_are_read(dtype):
    content = arrays((4, 6), dtype)
    x, y = content["x_train"], content["y_train"]
    data = from_arrays({"x_train": x[::-1, :, ::-2], "y_train": y[::-1], "x_test": x.T[::2].T, "y_test": y})
    assert np.array_equal(data.test.images[:, 0].numpy(), x[:, :, ::2])
    kept = {tuple(row) for row in x[:, :, ::-2].reshape(30, -1).tolist()}
    assert {tuple(row) for row in data.train.images.flatten(1).tolist()} <= kept


@pytest.mark.parametrize(
    "dtype, expected",
    [
        (np.uint8, torch.uint8),
        (np.int16, torch.float32),
        (np.float64, torch.float32),
        (np.float16, torch.float32),
        (np.dtype(">f4"), torch.float32),
    ],
)
def test_values_survive(read, dtype, expected):
    content = arrays(dtype=dtype)
    data = read({**content, "x_test": content["x_train"], "y_test": content["y_train"]})
    assert data.test.images.dtype == expected
    assert np.array_equal(data.test.images.squeeze(1).numpy(), content["x_train"])
    assert data.test.targets.tolist() == content["y_train"].tolist()
    assert data.classes == ("0", "1", "2")


def test_missing_splits_are_carved(read):
    data = read(arrays())
    assert [len(split) for split in (data.train, data.val, data.test)] == [22, 2, 6]


def test_label_beyond_the_classes(read):
    content = arrays()
    content["y_train"][4] = 3
    with pytest.raises(DataError, match=r"split 'train': label 3 at index 4 is out of range .* allowed are 0\.\.2"):
        read(content, classes=3)


def test_label_of_another_split_beyond_those_of_training(read):
    with pytest.raises(DataError, match=r"split 'val': label 3 at index 1 .* allowed are 0\.\.2"):
        read(arrays(x_val=np.zeros((2, 4, 5), np.float32), y_val=np.array([0, 3])))


@pytest.mark.parametrize("label", [-1, 255, 10**9])
def test_a_stray_label_is_found_without_a_number_of_classes(read, label):
    content = arrays()
    content["y_train"][4] = label
    with pytest.raises(DataError, match=f"split 'train': label {label} at index 4"):
        read(content)


def test_a_stray_label_that_leaves_classes_without_images_is_named_by_its_index_in_the_file(read):
    content = arrays()
    content["y_train"][7] = 9  # the splits for test and validation are carved out before it is seen
    with pytest.raises(DataError, match=r"the largest label is 9, at index 7\."):
        read(content)


def test_an_image_far_beyond_all_others_is_named_by_its_index_in_the_file(read):
    content = arrays()
    content["x_train"][12, 1, 1] = 1e6  # the image at 10 once other splits are carved out
    found = outliers(read(content))
    assert "such as that at index 12, which holds 1e+06." in found


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_not_finite(read, value):
    content = arrays(dtype=np.float64)
    content["x_train"][9, 1, 1] = value
    with pytest.raises(DataError, match=r"split 'train': image at index 9 holds (nan|inf)"):
        read(content)


def test_length_mismatch(read):
    with pytest.raises(DataError, match=r"split 'train': 30 images but labels torch.int64 of shape \(29,\)"):
        read(arrays(y_train=np.arange(29) % 3))


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_images(read, count):
    with pytest.raises(DataError, match=r"no images|too few to carve"):
        read({"x_train": np.zeros((count, 4, 5), np.float32), "y_train": np.zeros(count, np.int64)})


@pytest.mark.parametrize("lacking", ["x_train", "y_train", "y_val", "x_test"])
def test_missing_arrays(read, lacking):
    content = arrays()
    content |= {f"{xy}_{split}": content[f"{xy}_train"] for xy in "xy" for split in ("val", "test")}
    del content[lacking]
    with pytest.raises(DataError, match=r"mine\.npz: holds .*x_train and y_train are needed"):
        read(content)


@pytest.mark.parametrize("dtype", [bool, complex, "U3"])
def test_images_that_are_no_numbers(read, dtype):
    with pytest.raises(DataError, match=r"x_train: .* images must be integers or floats"):
        read(arrays(dtype=dtype))


def test_integers_that_float32_cannot_hold(read):
    with pytest.raises(DataError, match="x_train: int32 images beyond"):
        read({**arrays(), "x_train": np.full((30, 4, 5), 2**24 + 1, dtype=np.int32)})


def test_targets_of_no_kind(read):
    with pytest.raises(
        DataError, match=r"y_train: <U3 targets of shape \(30,\) are of no kind\. Set data\.targets .* labels:"
    ):
        read(arrays(y_train=np.array(["cat", "dog", "owl"] * 10)))


def test_labels_that_are_no_integers(read):
    with pytest.raises(DataError, match=r"y_train: float64 labels of shape \(30,\); they must be integers \(N,\)"):
        read(arrays(y_train=np.arange(30) % 3 + 0.5), targets="labels")


def test_whole_targets_of_a_type_for_fractions_may_be_two_things(read):
    whole = (np.arange(30) % 3).astype(np.float64)
    with pytest.raises(
        DataError, match=r"y_train: float64 targets .* labels with \.astype\(int\); for numbers set data\.t"
    ):
        read(arrays(y_train=whole))
    assert read(arrays(y_train=whole), targets="numbers").targets == "numbers"


def test_pickled_objects_are_refused(read):
    with pytest.raises(DataError, match=r"mine\.npz: cannot be read .*no object arrays"):
        read(arrays(extra=np.array([{"run": "me"}], dtype=object)))


def test_a_missing_file_is_named_with_its_key(tmp_path):
    with pytest.raises(
        DataError, match=r"data\.file: there is no file '.*mine\.npz'.*correct data\.file in the config"
    ):
        load(NpzOptions(file=str(tmp_path / "mine.npz")))


@pytest.mark.parametrize("content", [b"", b"not a zip file", b"PK\x03\x04 cut off"])
def test_damaged_file(tmp_path, content):
    (tmp_path / "mine.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"mine\.npz: cannot be read"):
        load(NpzOptions(file=str(tmp_path / "mine.npz")))


def test_a_single_array_is_no_npz_file(tmp_path):
    np.save(tmp_path / "mine.npy", np.zeros(3))
    with pytest.raises(DataError, match=r"mine\.npy: cannot be read"):
        load(NpzOptions(file=str(tmp_path / "mine.npy")))


@pytest.mark.parametrize("given", [0.5, "half", [None], [[1.0]]])
def test_a_mean_that_is_no_list_of_numbers_is_refused_by_name(given):
    with pytest.raises(DataError, match=r"data\.mean is .*; allowed: a list of numbers, or null"):
        from_arrays({"x_train": np.zeros((4, 1, 8, 8)), "y_train": np.arange(4) % 2}, mean=given)
