"""How a tensor of the user's lies in a stored one.

A stored tensor has the batch first, and then its channels. The user's may have them anywhere, and may have been
reshaped, split and transposed since. None of that moves anything as long as nobody asks for another order: it is
remembered here.

A stored axis is a product of factors, in row-major order, and so is each axis of the user's. A reshape splits and joins
factors, a transposition orders them. An axis of one element has no factor. Factor 0 is the batch.

"Own" axes are those of one sample: all but the batch, counted without it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import prod

Shape = tuple[int, ...]
SAMPLES = 2  # of the batch with which a network is read


@dataclass(frozen=True)
class View:
    """Axes with the batch.

    Attributes:
        sizes: of the factors, in the order in which they are stored.
        counts: how many factors each stored axis has.
        axes: the factors of each of the user's axes.
    """

    sizes: Shape
    counts: Shape
    axes: tuple[Shape, ...]

    @staticmethod
    def ordered(stored: Shape, order: Sequence[int], batch: int = 0) -> "View":
        """A stored tensor, without the batch, whose axis i is the user's own axis order[i].

        Args:
            batch: where the user has the batch.
        """
        places = [(1 + list(order).index(axis),) for axis in range(len(stored))]
        return View((SAMPLES, *stored), (1,) * (1 + len(stored)), (*places[:batch], (0,), *places[batch:]))

    @property
    def stored(self) -> Shape:
        """The shape of the stored tensor, without the batch."""
        ends = list(accumulate(self.counts))
        return tuple(prod(self.sizes[start:end]) for start, end in pairwise(ends))

    @property
    def batch(self) -> int | None:
        """The user's axis that is the batch; None where it was joined with others."""
        return next((place for place, axis in enumerate(self.axes) if self._large(axis) == (0,)), None)

    @property
    def own(self) -> tuple[Shape, ...]:
        """The factors of each own axis."""
        return tuple(axis for place, axis in enumerate(self.axes) if place != self.batch)

    @property
    def order(self) -> Shape:
        """The own axes as a stored tensor had best have them: that of the channels first, others as they lie."""
        if self.is_whole:
            return self.whole
        firsts = [min(self._large(axis), default=None) for axis in self.own]
        order = [axis for _, axis in sorted((first, axis) for axis, first in enumerate(firsts) if first is not None)]
        if not order or self.stored[0] == 1:  # one channel, which is an axis of one element
            order = [axis for axis, first in enumerate(firsts) if first is None][:1] + order
        return (*order, *(axis for axis in range(len(firsts)) if axis not in order))

    @property
    def whole(self) -> Shape:
        """Of a view whose own axes are whole stored axes: the own axis that each stored one is."""
        return tuple(self.own.index((place,)) for place in range(1, len(self.sizes)))

    @property
    def is_whole(self) -> bool:
        """Whether own axes are whole stored axes, one each."""
        return sorted(self.own) == [(place,) for place in range(1, len(self.counts))] and max(self.counts) == 1

    def size(self, factors: Sequence[int]) -> int:
        return prod(self.sizes[f] for f in factors)

    def permuted(self, dims: Sequence[int]) -> "View":
        return View(self.sizes, self.counts, tuple(self.axes[dim] for dim in dims))

    def reshaped(self, shape: Sequence[int]) -> "View | None":
        """The same elements in the same row-major order under another shape; None where a factor has no such parts."""
        view = self
        left = [f for axis in self.axes for f in self._large(axis)]
        axes: list[Shape] = []
        for size in shape:
            axis: list[int] = []
            while size > 1:
                first = left[0]
                whole = view.sizes[first]
                if size % whole == 0:
                    axis.append(left.pop(0))
                    size //= whole
                elif whole % size == 0 and first:
                    view = view._split(first, size)
                    left = [first + 1, *(f + (f > first) for f in left[1:])]
                    axes = [tuple(f + (f > first) for f in each) for each in axes]
                    axis = [*(f + (f > first) for f in axis), first]
                    size = 1
                else:
                    return None
            axes.append(tuple(axis))
        return View(view.sizes, view.counts, tuple(axes))

    def _split(self, factor: int, size: int) -> "View":
        """The factor as two, the first of which has a size. Axes are those from before, and no longer right."""
        owner = self._owner(factor)
        counts = tuple(count + (i == owner) for i, count in enumerate(self.counts))
        parts = (size, self.sizes[factor] // size)
        return View((*self.sizes[:factor], *parts, *self.sizes[factor + 1 :]), counts, self.axes)

    def _large(self, axis: Shape) -> Shape:
        """The factors of more than one element."""
        return tuple(f for f in axis if self.sizes[f] > 1)

    def lies_together(self, axis: int) -> bool:
        """Whether an own axis is a run of neighbouring factors of one stored axis."""
        factors = self.own[axis]
        neighbours = factors == tuple(range(factors[0], factors[0] + len(factors))) if factors else False
        return neighbours and len({self._owner(f) for f in factors}) == 1

    def taking(self, axis: int, places: Sequence[int]) -> tuple["View", int, list[int]]:
        """What is left where an own axis, which lies together, has only the elements at those places.

        Returns:
            The view, the stored axis, without the batch, that loses elements, and the places of those that stay in it.
        """
        factors = self.own[axis]
        owner, first, last = self._owner(factors[0]), factors[0], factors[-1]
        start = sum(self.counts[:owner])
        before = prod(self.sizes[start:first])
        behind = prod(self.sizes[last + 1 : start + self.counts[owner]])
        size = self.size(factors)
        stay = [(b * size + p) * behind + e for b in range(before) for p in places for e in range(behind)]
        less = len(factors) - 1
        sizes = (*self.sizes[:first], len(places), *self.sizes[last + 1 :])
        counts = tuple(count - less * (i == owner) for i, count in enumerate(self.counts))
        axes = tuple((first,) if each == factors else tuple(f - less * (f > last) for f in each) for each in self.axes)
        return View(sizes, counts, axes), owner - 1, stay

    def _owner(self, factor: int) -> int:
        """The stored axis of a factor."""
        return next(i for i, end in enumerate(accumulate(self.counts)) if factor < end)

    def runs(self, order: Sequence[int]) -> list[Shape]:
        """The factors of the own axes in that order, joined where those that follow each other are stored so."""
        kept = [f for f, size in enumerate(self.sizes) if size > 1]
        runs: list[Shape] = []
        for factor in (f for axis in order for f in self._large(self.own[axis])):
            if runs and kept.index(runs[-1][-1]) + 1 == kept.index(factor):
                runs[-1] = (*runs[-1], factor)
            else:
                runs.append((factor,))
        return runs

    def shuffled(self, order: Sequence[int]) -> list[int]:
        """The stored channel at each place, where that order shuffles channels and nothing else; else no list."""
        flat = [f for run in self.runs(order) for f in run]
        end = 1 + self.counts[1] if len(self.counts) > 1 else 1
        channels = [f for f in range(1, end) if self.sizes[f] > 1]
        front, rest = flat[: len(channels)], flat[len(channels) :]
        if front == channels or sorted(front) != channels or rest != sorted(rest):
            return []
        steps = {f: prod(self.sizes[f + 1 : end]) for f in channels}
        places = [0]
        for factor in front:
            places = [place + index * steps[factor] for place in places for index in range(self.sizes[factor])]
        return places
