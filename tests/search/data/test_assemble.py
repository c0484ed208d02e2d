"""What assemble checks, carves and measures."""

from dataclasses import replace

import pytest
import torch

from search.data.assemble import assemble
from search.data.data import DataError, Split
from search.data.outliers import outliers

CLASSES = ("cat", "dog")


def make(count=20, shape=(1, 4, 4), dtype=torch.float32):
    images = torch.arange(count * 16 * shape[0], dtype=torch.float32).view(count, *shape) % 251
    return Split(images.to(dtype), torch.arange(count) % len(CLASSES))


def assembled(**splits):
    return assemble("pets", "data 'pets'", {"train": make(), "val": make(), "test": make(), **splits}, CLASSES)


@pytest.mark.parametrize("name", ["train", "val", "test"])
@pytest.mark.parametrize("label", [-1, 2])
def test_label_out_of_range_names_split_index_value_and_range(name, label):
    split = make()
    split.targets[[7, 9]] = label
    with pytest.raises(DataError, match=rf"'pets', split '{name}': label {label} at index 7.*allowed are 0\.\.1"):
        assembled(**{name: split})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", ["train", "val", "test"])
def test_not_finite_names_split_index_and_value(name, value):
    split = make()
    split.images[5, 0, 2, 3] = value
    with pytest.raises(DataError, match=rf"split '{name}': image at index 5 holds {value}"):
        assembled(**{name: split})


def test_length_mismatch():
    with pytest.raises(DataError, match=r"split 'val': 20 images but labels torch.int64 of shape \(19,\)"):
        assembled(val=Split(make().images, make().targets[:19]))


def test_empty_split():
    with pytest.raises(DataError, match="split 'test': no images"):
        assembled(test=make(0))


def test_class_without_training_image():
    split = make()
    split.targets[:] = 0
    with pytest.raises(DataError, match=r"split 'train': no image of 'dog' \(1 of 2 classes\)"):
        assembled(train=split)


@pytest.mark.parametrize("other", [make(shape=(2, 4, 4)), make(dtype=torch.uint8)])
def test_splits_must_agree(other):
    with pytest.raises(DataError, match=r"split 'val': images are .* those of split 'train' float32 \(1, 4, 4\)"):
        assembled(val=other)


def test_images_of_another_type_are_refused():
    with pytest.raises(DataError, match=r"split 'train': images are torch.int64"):
        assembled(train=make(dtype=torch.int64))


def test_missing_splits_are_carved_disjoint_and_noted():
    train = make(100)
    train.images[:] = torch.arange(100.0).view(100, 1, 1, 1)  # an image is its index
    data = assemble("pets", "data 'pets'", {"train": train}, CLASSES)
    seen = [split.images[:, 0, 0, 0].int().tolist() for split in (data.train, data.val, data.test)]
    assert [len(indices) for indices in seen] == [72, 8, 20]
    assert sorted([*seen[0], *seen[1], *seen[2]]) == list(range(100))
    assert all(label == index % 2 for index, label in zip(seen[2], data.test.targets.tolist(), strict=True))
    assert [note.split("; ")[1] for note in data.notes] == [
        "carved 20 of 100 training images, seed 0",
        "carved 8 of 80 training images, seed 0",
    ]


def test_a_given_split_is_not_touched():
    data = assembled()
    assert torch.equal(data.val.images, make().images)


def test_too_few_images_to_carve():
    with pytest.raises(DataError, match="no split 'test', and 1 training image"):
        assemble("pets", "data 'pets'", {"train": make(1)}, CLASSES)


def test_train_images_takes_a_stratified_subset():
    splits = {"train": make(20), "val": make(), "test": make()}
    data = assemble("pets", "data 'pets'", splits, CLASSES, train_images=8)
    assert torch.bincount(data.train.targets).tolist() == [4, 4]


@pytest.mark.parametrize("count", [0, 21])
def test_impossible_train_images(count):
    with pytest.raises(DataError, match=rf"train_images is {count}, but .* 20 images; allowed are 1\.\.20"):
        assemble("pets", "data 'pets'", {"train": make(20), "val": make(), "test": make()}, CLASSES, train_images=count)


def test_mean_and_std_match_a_hand_count():
    images = torch.tensor([0, 255, 255, 255, 51, 51, 51, 51], dtype=torch.uint8).view(2, 2, 1, 2)
    # channel 0: 0, 255, 51, 51; channel 1: 255, 255, 51, 51; in units of 255: 0, 1, .2, .2 and 1, 1, .2, .2
    split = Split(images, torch.tensor([0, 1]))
    data = assembled(train=split, val=split, test=split)
    # one mean for both channels, 121.125 / 255 rounded to the value of a pixel, and the root mean square about it
    deviations = [-121, 134, -70, -70, 134, 134, -70, -70]
    assert data.mean == pytest.approx((121 / 255,) * 2)
    assert data.std == pytest.approx((sum(d * d / 8 for d in deviations) ** 0.5 / 255,) * 2)
    floats = replace(split, images=images / 255)
    data = assembled(train=floats, val=floats, test=floats)
    assert data.mean == pytest.approx((0.35, 0.6))
    assert data.std == pytest.approx(((0.35**2 + 0.65**2 + 2 * 0.15**2) ** 0.5 / 2, 0.4))


def test_a_few_images_far_beyond_all_others_are_named():
    images = torch.rand(40, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    split = Split(images, torch.arange(40) % 2)
    assert outliers(assembled(train=split, val=split, test=split)) is None
    images[13, 0, 2, 1] = -1000
    found = outliers(assembled(train=split, val=split, test=split))
    assert "that at index 13, which holds -1000." in found and "half of the images stay within 0.0" in found


def test_a_mean_that_is_given_is_taken_and_refused_where_it_does_not_fit():
    def made(**given):
        split = Split(torch.zeros(4, 3, 2, 2, dtype=torch.uint8), torch.tensor([0, 1, 0, 1]))
        return assemble("pets", "data 'pets'", dict.fromkeys(("train", "val", "test"), split), CLASSES, **given)

    assert made(mean=[0.5], std=[0.1, 0.2, 0.3]).mean == (0.5, 0.5, 0.5)
    assert made(mean=[0.5], std=[0.1, 0.2, 0.3]).std == (0.1, 0.2, 0.3)
    with pytest.raises(DataError, match=r"mean is \[0.1, 0.2\]; allowed is one finite number, or one for each of 3"):
        made(mean=[0.1, 0.2])
    with pytest.raises(DataError, match=r"std is \[0.0\]; allowed is .* over 0. Change data.std"):
        made(std=[0.0])


def test_normalised_training_images_have_mean_0_and_std_1():
    split = make(shape=(3, 4, 4))
    data = assembled(train=split, val=split, test=split)
    normalised = data.normalise(data.train.images).double().transpose(0, 1).flatten(1)
    assert data.normalise(data.train.images).dtype == torch.float32
    assert normalised.mean(dim=1).abs().max() < 1e-6
    assert (normalised.std(dim=1, correction=0) - 1).abs().max() < 1e-6


def test_normalised_pixels_have_a_root_mean_square_of_1_about_the_value_of_a_pixel():
    split = make(shape=(3, 4, 4), dtype=torch.uint8)
    data = assembled(train=split, val=split, test=split)
    normalised = data.normalise(data.train.images).double()
    assert normalised.square().mean().item() == pytest.approx(1, abs=1e-6)
    assert normalised.abs().min() < 1e-6 and normalised.mean().abs() < 0.5 / 255 / data.std[0]


def test_normalise_leaves_its_argument_alone():
    data = assembled()
    before = data.train.images.clone()
    data.normalise(data.train.images)
    assert torch.equal(data.train.images, before)


def test_constant_channel_stays_finite():
    split = Split(torch.full((2, 1, 3, 3), 7.0), torch.tensor([0, 1]))
    data = assembled(train=split, val=split, test=split)
    assert data.std == (1.0,)
    assert torch.equal(data.normalise(split.images), torch.zeros(2, 1, 3, 3))


def test_unknown_split_name():
    with pytest.raises(DataError, match="'pets' has no split 'valid'; choose one of train, val, test"):
        assembled().split("valid")
