"""Augmentation against slow, obvious versions."""

import pytest
import torch

from search.data.augment import Augment
from search.data.data import DataError

SIZES = [(9,), (6, 8), (5, 4, 6)]


def images(size, dtype=torch.float32, count=12):
    elements = count * 2 * torch.Size(size).numel()
    return (torch.arange(elements) % 200 + 1).to(dtype).view(count, 2, *size)  # no zeros: zeros are what moved in


def draws(augment, size, count=12):
    return augment.draw(count, size, torch.Generator().manual_seed(3))


def slow_shift(image, offsets, reach):
    """Pixel by pixel: result[p] = image[p + offset - reach], 0 outside."""
    result = torch.zeros_like(image)
    for place in torch.cartesian_prod(*map(torch.arange, image.shape[1:])).view(-1, image.dim() - 1):
        source = place + offsets - reach
        if all(0 <= s < side for s, side in zip(source, image.shape[1:], strict=True)):
            result[(slice(None), *place)] = image[(slice(None), *source)]
    return result


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_shift_matches_pixel_by_pixel(size, dtype):
    augment, batch = Augment(shift=2), images(size, dtype)
    drawn = draws(augment, size)
    expected = torch.stack([slow_shift(x, d[: len(size)], 2) for x, d in zip(batch, drawn, strict=True)])
    assert torch.equal(augment.apply(batch, drawn), expected)
    assert not torch.equal(expected, batch)


@pytest.mark.parametrize("size", SIZES)
def test_flip_mirrors_those_that_were_drawn(size):
    augment, batch = Augment(flip=True), images(size)
    drawn = draws(augment, size)
    flips = drawn[:, len(size)].bool()
    result = augment.apply(batch, drawn)
    assert flips.any() and not flips.all()
    assert torch.equal(result[flips], batch[flips].flip(-1))
    assert torch.equal(result[~flips], batch[~flips])


@pytest.mark.parametrize("size", SIZES)
def test_cutout_matches_slicing(size):
    augment, batch = Augment(cutout=3), images(size)
    drawn = draws(augment, size)
    expected = batch.clone()
    for image, corner in zip(expected, drawn[:, len(size) + 1 :].tolist(), strict=True):
        image[(slice(None), *(slice(max(0, c), c + 3) for c in corner))] = 0
    assert torch.equal(augment.apply(batch, drawn), expected)
    assert ((expected == 0).flatten(1).sum(dim=1) > 0).all()


def test_every_shift_is_drawn_equally_often():
    drawn = Augment(shift=1).draw(9000, (5, 5), torch.Generator().manual_seed(0))
    counts = torch.bincount(drawn[:, 0] * 3 + drawn[:, 1])
    assert len(counts) == 9
    assert (counts - 1000).abs().max() < 150  # five standard deviations


def test_as_it_stands_nothing_changes():
    batch = images((6, 8))
    assert torch.equal(Augment().apply(batch, draws(Augment(), (6, 8))), batch)


@pytest.mark.parametrize("augment, name", [(Augment(shift=-1), "shift"), (Augment(cutout=6), "cutout")])
def test_more_than_the_image_is_refused(augment, name):
    with pytest.raises(DataError, match=rf"{name} is -?\d on images of size \(8, 6\); allowed are 0..5"):
        augment.check((8, 6))
