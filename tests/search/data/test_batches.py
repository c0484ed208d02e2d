"""Batches: repeatable from any epoch, and the same for any number of processes."""

import pytest
import torch

from search.data.assemble import assemble
from search.data.augment import Augment
from search.data.batches import Batches
from search.data.data import DataError, Split

AUGMENT = Augment(shift=0.25, flip=True, cutout=0.3, noise=0.1)


@pytest.fixture(scope="module")
def data():
    generator = torch.Generator().manual_seed(0)

    def split(count):
        images = torch.randint(256, (count, 3, 8, 8), dtype=torch.uint8, generator=generator)
        images[:, 0, 0, 0] = torch.arange(count)  # an image carries its index
        return Split(images, torch.arange(count) % 5)

    return assemble("noise", "data 'noise'", {"train": split(50), "val": split(21), "test": split(20)}, tuple("abcde"))


def equal(one, other):
    pairs = list(zip(one, other, strict=True))
    return all(torch.equal(a, c) and torch.equal(b, d) for (a, b), (c, d) in pairs)


def indices(data, batches):
    red = torch.cat([images[:, 0, 0, 0] for images, _ in batches])
    return ((red * data.std[0] + data.mean[0]) * 255).round().int().tolist()


def test_an_epoch_repeats_bit_for_bit_whatever_came_before(data):
    first = Batches(data, "train", 8, seed=1, shuffle=True, augment=AUGMENT)
    epochs = [list(first.epoch(e)) for e in range(3)]
    torch.manual_seed(99)
    resumed = Batches(data, "train", 8, seed=1, shuffle=True, augment=AUGMENT)
    assert equal(resumed.epoch(2), epochs[2])


@pytest.mark.parametrize("augment", [None, AUGMENT])
def test_epochs_and_seeds_differ(data, augment):
    batches = Batches(data, "train", 8, seed=1, shuffle=True, augment=augment)
    other = Batches(data, "train", 8, seed=2, shuffle=True, augment=augment)
    assert not equal(batches.epoch(0), batches.epoch(1))
    assert not equal(batches.epoch(0), other.epoch(0))


@pytest.mark.parametrize("augment", [None, AUGMENT])
@pytest.mark.parametrize("split, shuffle, world", [("train", True, 4), ("val", False, 4), ("val", False, 3)])
def test_shards_together_are_the_global_batch(data, augment, split, shuffle, world):
    whole = Batches(data, split, 8, seed=1, shuffle=shuffle, augment=augment)
    parts = [
        Batches(data, split, 8, seed=1, shuffle=shuffle, augment=augment, rank=rank, world_size=world)
        for rank in range(world)
    ]
    assert all(len(part) == len(whole) for part in parts)
    joined = [
        (torch.cat([images for images, _ in shards]), torch.cat([labels for _, labels in shards]))
        for shards in zip(*(part.epoch(3) for part in parts), strict=True)
    ]
    assert equal(joined, whole.epoch(3))
    assert all(equal(part.whole().epoch(3), whole.epoch(3)) for part in parts)
    assert all(part.whole()._images is part._images for part in parts)  # which are on the device once
    if shuffle:
        assert all(len(images) == 2 for part in parts for images, _ in part.epoch(3))


def test_training_drops_the_last_incomplete_batch(data):
    batches = Batches(data, "train", 8, seed=0, shuffle=True)
    seen = indices(data, batches.epoch(0))
    assert len(batches) == len(list(batches.epoch(0))) == 6
    assert len(set(seen)) == 48 and set(seen) < set(range(50))


@pytest.mark.parametrize("split, steps, last", [("val", 3, 5), ("test", 3, 4)])
def test_evaluation_sees_every_image_once_in_order(data, split, steps, last):
    batches = Batches(data, split, 8, seed=0, shuffle=False)
    found = list(batches.epoch(0))
    assert (len(batches), len(found), len(found[-1][0])) == (steps, steps, last)
    assert indices(data, found) == list(range(len(data.split(split))))
    assert torch.equal(torch.cat([labels for _, labels in found]), data.split(split).targets)


def test_some_images_are_spread_evenly_over_the_split(data):
    every = Batches(data, "val", 4, seed=0, shuffle=False)
    images, labels = (torch.cat(part) for part in zip(*every.epoch(0), strict=True))
    some = every.some(3)
    seen, of_them = (torch.cat(part) for part in zip(*some.epoch(0), strict=True))
    places = [0, (every.images - 1) // 2, every.images - 1]
    assert some.images == 3 and torch.equal(seen, images[places]) and torch.equal(of_them, labels[places])
    assert every.some(10**6).images == every.images == len(labels)


def test_whole_batches_leave_no_rest(data):
    assert len(Batches(data, "test", 10, seed=0, shuffle=False)) == 2


def test_batches_are_normalised(data):
    images, _ = next(Batches(data, "val", 21, seed=0, shuffle=False).epoch(0))
    assert torch.equal(images, data.normalise(data.val.images))


def test_labels_stay_with_their_images(data):
    batches = list(Batches(data, "train", 10, seed=0, shuffle=True).epoch(0))
    labels = torch.cat([labels for _, labels in batches]).tolist()
    assert labels == [index % 5 for index in indices(data, batches)]


def test_a_cutout_leaves_the_mean_of_each_channel(data):
    plain, cut = (
        next(Batches(data, "train", 50, seed=0, shuffle=True, augment=augment).epoch(0))[0]
        for augment in (None, Augment(cutout=0.3))
    )
    changed = (plain != cut).any(dim=1)
    assert changed.flatten(1).any(dim=1).all() and not changed.all()
    assert torch.equal(cut[~changed[:, None].expand_as(cut)], plain[~changed[:, None].expand_as(cut)])
    assert (cut[changed[:, None].expand_as(cut)] == 0).all()


@pytest.mark.parametrize("batch_size, rank, world_size", [(8, 0, 3), (0, 0, 1), (8, 2, 2)])
def test_impossible_shares_are_refused(data, batch_size, rank, world_size):
    with pytest.raises(DataError, match=f"batch_size {batch_size} for rank {rank} of {world_size} processes"):
        Batches(data, "train", batch_size, seed=0, shuffle=True, rank=rank, world_size=world_size)


def test_a_batch_larger_than_the_training_split_is_refused(data):
    with pytest.raises(DataError, match="batch_size 51 exceeds its 50 images"):
        Batches(data, "train", 51, seed=0, shuffle=True)


def test_augmentation_is_checked_at_once(data):
    with pytest.raises(DataError, match=r"cutout 0\.99 covers all"):
        Batches(data, "train", 8, seed=0, shuffle=True, augment=Augment(cutout=0.99))
