"""Where the elements of a reshaped, transposed and cut tensor lie, and the operators that bring them in order."""

import random
from math import prod

import numpy as np
import pytest

from spaces.graph.errors import UnsupportedNetwork
from spaces.graph.forms import Forms
from spaces.graph.value import Value
from spaces.graph.view import SAMPLES, View
from tests.spaces.graph.layouts import numbered, run, seen, transposed

SEEDS = range(500)
STEPS = 6
MOST = 400  # elements of a sample


class Walk:
    """A tensor of the user's, and where the same elements lie by `Forms`, through random steps."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        shape = [self.rng.choice((1, 2, 3, 4, 6)), *(self.rng.randint(1, 6) for _ in range(self.rng.randint(0, 3)))]
        self.source = self.wanted = numbered(*shape)
        self.value, self.forms = Value("input", self.source.shape), Forms()

    def step(self) -> None:
        self.rng.choice((self.reshape, self.reshape, self.transpose, self.transpose, self.take))()
        self.check()

    def check(self) -> None:
        stored = run(self.forms.ops, self.source)[self.value.name]
        assert (seen(self.value, stored) == self.wanted).all()

    def reshape(self) -> None:
        shape = self._merged() if self.rng.random() < 0.4 else self._split()
        if self.rng.random() < 0.2:  # of any other factors
            shape = self._factored(prod(self.wanted.shape))
        try:
            self.value = self.forms.reshaped(self.value, shape)
        except UnsupportedNetwork as error:
            assert "batch" in error.reason
        else:
            self.wanted = self.wanted.reshape(shape)

    def transpose(self) -> None:
        dims = self.rng.sample(range(self.wanted.ndim), self.wanted.ndim)
        self.value, self.wanted = transposed(self.value, dims), self.wanted.transpose(dims)

    def take(self) -> None:
        """Some places of one or two own axes; of an axis of one element the same several times."""
        batch = self.value.seen.batch
        if batch is None or not self.value.rank:
            return
        places, wanted = {}, self.wanted
        for axis in self.rng.sample(range(self.value.rank), min(self.value.rank, self.rng.randint(1, 2))):
            size = self.value.own[axis]
            places[axis] = self.rng.choices(range(size), k=self.rng.randint(max(1, size - 2), size + 1))
            wanted = wanted.take(places[axis], axis + (axis >= batch))
        if wanted.size <= SAMPLES * MOST:
            self.value, self.wanted = self.forms.taken(self.value, places, "part"), wanted

    def _merged(self) -> tuple[int, ...]:
        shape = list(self.wanted.shape)
        if len(shape) > 2:
            at = self.rng.randrange(len(shape) - 1)
            shape[at : at + 2] = [shape[at] * shape[at + 1]]
        return tuple(shape)

    def _split(self) -> tuple[int, ...]:
        shape = list(self.wanted.shape)
        at = self.rng.randrange(len(shape))
        first = self.rng.choice([d for d in range(1, shape[at] + 1) if shape[at] % d == 0])
        shape[at : at + 1] = [first, shape[at] // first]
        return tuple(shape) if len(shape) < 7 else self.wanted.shape

    def _factored(self, count: int) -> tuple[int, ...]:
        shape = []
        while count > 1 and len(shape) < 4:
            shape.append(self.rng.choice([d for d in range(2, count + 1) if count % d == 0]))
            count //= shape[-1]
        return (*shape, count)


@pytest.mark.parametrize("part", range(10))
def test_elements_lie_where_the_view_says_after_any_reshapes_transpositions_and_cuts(part):
    for seed in SEEDS[part::10]:
        walk = Walk(seed)
        for _ in range(STEPS):
            walk.step()


@pytest.mark.parametrize("part", range(10))
def test_a_stored_form_has_the_elements_in_any_order_of_axes_that_is_asked_for(part):
    stored = 0
    for seed in SEEDS[part::10]:
        walk = Walk(seed)
        for _ in range(STEPS):
            walk.step()
        value, batch = walk.value, walk.value.seen.batch
        if batch is None or not value.rank:
            continue
        stored += 1
        for order in (None, walk.rng.sample(range(value.rank), value.rank)):
            found = walk.forms.stored(value, order)
            assert found.seen.is_whole and (order is None or found.seen.whole == tuple(order))
            data = run(walk.forms.ops, walk.source)[found.name]
            own = np.moveaxis(walk.wanted, batch, 0)
            assert (data == own.transpose(0, *(1 + axis for axis in found.seen.whole))).all()
            assert (seen(found, data) == walk.wanted).all()
    assert stored > len(SEEDS[part::10]) / 2


@pytest.mark.parametrize(
    ("shape", "into"),
    [
        ((4, 6), (SAMPLES, 3, 8)),  # 4 and 6 have no such parts
        ((4, 6), (SAMPLES, 6, 4)),
        ((3, 5), (SAMPLES, 5, 3)),
        ((4, 6), (3, 16)),  # the batch is no multiple of 3
        ((3,), (3, SAMPLES)),
    ],
)
def test_a_reshape_across_factors_that_do_not_divide_is_no_view(shape, into):
    view = View.ordered(shape, range(len(shape)))
    assert view.reshaped(into) is None


@pytest.mark.parametrize(
    ("shape", "into", "sizes", "axes"),
    [
        ((6, 4), (SAMPLES, 2, 3, 4), (2, 2, 3, 4), ((0,), (1,), (2,), (3,))),
        ((6, 4), (SAMPLES, 24), (2, 6, 4), ((0,), (1, 2))),
        ((6, 4), (SAMPLES, 12, 2), (2, 6, 2, 2), ((0,), (1, 2), (3,))),
        ((6, 4), (SAMPLES, 2, 12), (2, 2, 3, 4), ((0,), (1,), (2, 3))),
        ((6, 4), (SAMPLES * 6, 4), (2, 6, 4), ((0, 1), (2,))),
        ((6, 4), (SAMPLES, 1, 6, 4, 1), (2, 6, 4), ((0,), (), (1,), (2,), ())),
        ((1, 4), (SAMPLES, 4), (2, 1, 4), ((0,), (2,))),
    ],
)
def test_a_reshape_splits_and_joins_factors(shape, into, sizes, axes):
    view = View.ordered(shape, range(len(shape))).reshaped(into)
    assert view is not None and view.stored == shape
    kept = [size for size in view.sizes if size > 1]
    assert kept == [size for size in sizes if size > 1]
    large = tuple(tuple(f for f in axis if view.sizes[f] > 1) for axis in view.axes)
    assert large == axes


def test_a_view_of_a_view_is_that_of_both():
    """(2, 6, 4) -> (2, 2, 3, 4) -> (2, 4, 3, 2) by a transposition -> (2, 4, 6), whose last axis lies in pieces."""
    view = View.ordered((6, 4), (0, 1)).reshaped((SAMPLES, 2, 3, 4))
    view = view.permuted((0, 3, 2, 1)).reshaped((SAMPLES, 4, 6))
    assert view.axes == ((0,), (3,), (2, 1)) and view.stored == (6, 4)
    assert view.lies_together(0) and not view.lies_together(1)


def test_the_batch_moves_and_is_joined_and_parted_again():
    view = View.ordered((3, 4), (0, 1))
    assert view.batch == 0 and view.permuted((1, 0, 2)).batch == 1 and view.permuted((1, 2, 0)).batch == 2
    joined = view.reshaped((SAMPLES * 3, 4))
    assert joined.batch is None
    assert joined.reshaped((SAMPLES, 3, 4)) == view
    assert joined.permuted((1, 0)).reshaped((4, SAMPLES, 3)).batch == 1


def test_axes_of_one_element_are_stored_last_but_for_the_channel():
    assert View.ordered((1, 3, 5), (0, 1, 2)).order == (0, 1, 2)
    one = View.ordered((4, 5), (0, 1)).reshaped((SAMPLES, 1, 4, 1, 5))
    assert one.order == (1, 3, 0, 2)
