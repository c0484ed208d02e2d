"""Augmentation against slow, obvious versions."""

import pytest
import torch

from search.data.augment import SHIFT, Augment, Draws
from search.data.data import DataError

SIZES = [(9,), (6, 8), (5, 4, 6)]


def examples(size, count=12):
    elements = count * 2 * torch.Size(size).numel()
    return (torch.arange(elements) % 200 + 1).float().view(count, 2, *size)  # no zeros: those are what a cutout leaves


def draws(augment, size, count=12):
    return augment.draw(count, (2, *size), torch.Generator().manual_seed(3))


def reflected(place, length):
    """The place within 0..length-1 that is seen in mirrors at both ends."""
    place = abs(place)
    return place if place < length else 2 * (length - 1) - place


def slow_shift(example, offsets, reach):
    """Place by place: result[p] = example[p + offset - reach], seen in mirrors at the edges."""
    result = torch.empty_like(example)
    for place in torch.cartesian_prod(*map(torch.arange, example.shape[1:])).view(-1, example.dim() - 1).tolist():
        moved = zip(place, offsets.tolist(), reach, example.shape[1:], strict=True)
        source = [reflected(p + offset - r, length) for p, offset, r, length in moved]
        result[(slice(None), *place)] = example[(slice(None), *source)]
    return result


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("share", "of_six"), [(0.3, 2), (0.5, 3)])
def test_shift_matches_place_by_place(size, share, of_six):
    augment, batch = Augment(shift=share), examples(size)
    drawn, reach = draws(augment, size), [round(share * length) for length in size]
    if 6 in size:
        assert reach[size.index(6)] == of_six
    expected = torch.stack([slow_shift(x, d[: len(size)], reach) for x, d in zip(batch, drawn.places, strict=True)])
    assert torch.equal(augment.apply(batch, drawn), expected)
    assert not torch.equal(expected, batch)


@pytest.mark.parametrize("size", SIZES)
def test_flip_mirrors_those_that_were_drawn(size):
    augment, batch = Augment(flip=True), examples(size)
    drawn = draws(augment, size)
    flips = drawn.places[:, len(size)].bool()
    result = augment.apply(batch, drawn)
    assert flips.any() and not flips.all()
    assert torch.equal(result[flips], batch[flips].flip(-1))
    assert torch.equal(result[~flips], batch[~flips])


@pytest.mark.parametrize("size", SIZES)
def test_cutout_matches_slicing(size):
    augment, batch = Augment(cutout=0.5), examples(size)
    drawn, sides = draws(augment, size), [round(length / 2) for length in size]
    expected = batch.clone()
    for example, corner in zip(expected, drawn.places[:, len(size) + 1 :].tolist(), strict=True):
        box = (slice(max(0, c), c + side) for c, side in zip(corner, sides, strict=True))
        example[(slice(None), *box)] = 0
    assert torch.equal(augment.apply(batch, drawn), expected)
    assert ((expected == 0).flatten(1).sum(dim=1) > 0).all()


def test_a_small_cutout_is_not_left_out_along_a_short_side():
    augment, batch = Augment(cutout=0.1), examples((3, 30))
    assert ((augment.apply(batch, draws(augment, (3, 30))) == 0).flatten(1).sum(dim=1) > 0).all()


@pytest.mark.parametrize("size", SIZES)
def test_noise_is_normal_with_this_deviation(size):
    augment, batch = Augment(noise=0.3), examples(size, count=2000)
    added = augment.apply(batch, draws(augment, size, count=2000)) - batch
    assert added.mean().abs() < 0.01 and abs(added.std() - 0.3) < 0.01
    assert abs((added.abs() < 0.3).float().mean() - 0.683) < 0.01
    assert added.unique(dim=0).shape == added.shape


def test_every_shift_is_drawn_equally_often():
    drawn = Augment(shift=0.2).draw(9000, (1, 5, 5), torch.Generator().manual_seed(0)).places
    counts = torch.bincount(drawn[:, 0] * 3 + drawn[:, 1])
    assert len(counts) == 9
    assert (counts - 1000).abs().max() < 150  # five standard deviations


def test_as_it_stands_nothing_changes():
    batch = examples((6, 8))
    for augment in (Augment(), Augment(shift=0.0)):
        assert torch.equal(augment.apply(batch, draws(augment, (6, 8))), batch)


def test_a_shift_that_is_not_set_depends_on_the_network():
    assert Augment().settled(shifts=True) == Augment(shift=SHIFT)
    assert Augment(flip=True).settled(shifts=False) == Augment(shift=0.0, flip=True)
    for chosen in (Augment(shift=0.0), Augment(shift=0.3)):
        assert chosen.settled(shifts=True) == chosen.settled(shifts=False) == chosen


def test_a_part_of_the_draws_changes_as_the_whole_does():
    augment, batch = Augment(shift=0.3, flip=True, cutout=0.3, noise=0.1), examples((6, 8))
    drawn = draws(augment, (6, 8))
    part = drawn.part(3, 7, torch.device("cpu"))
    assert isinstance(part, Draws)
    assert torch.equal(augment.apply(batch[3:7], part), augment.apply(batch, drawn)[3:7])


def test_a_box_as_large_as_the_example_is_refused():
    Augment(cutout=0.9).check((8, 6))  # 7 of 8 rows
    with pytest.raises(DataError, match=r"cutout 0.95 covers all of examples of size \(8, 6\). Lower"):
        Augment(cutout=0.95).check((8, 6))
