"""Random changes of training examples, as tensor operations on a whole batch.

Drawing is apart from applying. Processes that share a batch can therefore all draw for the whole batch, and each
applies the changes to its own part. See docs/methods.md, section 11.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from search.data.data import DataError

SHIFT = 1 / 16  # where it is not set


def sent(x: Tensor, device: torch.device) -> Tensor:
    """A tensor of the host on a device, to which it goes while the host goes on."""
    return (x.pin_memory() if device.type == "cuda" else x).to(device, non_blocking=True)


class Draws(NamedTuple):
    """What was drawn for each of N examples.

    Attributes:
        places: (N, 2 * dims + 1), int64: the offset of the shift along each dimension, 0..2*reach; flip, 0 or 1; the
            first place of the cutout along each dimension, which may lie outside.
        noise: (N, C, *size), float32, of standard deviation 1; None: there is none.
    """

    places: Tensor
    noise: Tensor | None

    def part(self, first: int, last: int, device: torch.device) -> "Draws":
        """Those of examples first..last-1, on a device."""
        noise = None if self.noise is None else sent(self.noise[first:last], device)
        return Draws(sent(self.places[first:last], device), noise)


@dataclass
class Augment:
    """What may change in images, series and volumes, which have 2, 1 and 3 dimensions of space or time.

    Attributes:
        shift: they move along every dimension by up to this share of its length. What moves in is a reflection of what
            stands at the edge. None: a sixteenth if the network begins with a convolution, which treats all places
            alike; else 0.
        flip: every other one is mirrored along its last dimension, left to right.
        cutout: side of a box around a random place, as a share of each dimension's length. It is set to the mean of the
            training data (DeVries and Taylor, arXiv 1708.04552). In a series it is a stretch of time.
        noise: standard deviation of normal noise, in standard deviations of the channel.
    """

    shift: float | None = None
    flip: bool = False
    cutout: float = 0.0
    noise: float = 0.0

    def settled(self, shifts: bool) -> "Augment":
        """The same with a shift that is set; `shifts` says whether it is wanted where it was not."""
        return self if self.shift is not None else replace(self, shift=SHIFT if shifts else 0.0)

    def check(self, size: tuple[int, ...]) -> None:
        """Checks that something of an example of this size remains.

        Raises:
            DataError: a box as large as the example.
        """
        if self._sides(size) == list(size):
            raise DataError(
                f"augment: cutout {self.cutout:g} covers all of examples of size {size}. Lower train.augment.cutout."
            )

    def _reach(self, size: tuple[int, ...]) -> list[int]:
        return [round(length * (self.shift or 0.0)) for length in size]

    def _sides(self, size: tuple[int, ...]) -> list[int]:
        return [max(1, round(length * self.cutout)) if self.cutout else 0 for length in size]

    def draw(self, count: int, shape: tuple[int, ...], generator: torch.Generator) -> Draws:
        """Draws the changes of `count` examples of this shape, (C, *size)."""
        size = shape[1:]
        shifts = [torch.randint(2 * reach + 1, (count, 1), generator=generator) for reach in self._reach(size)]
        flips = torch.randint(2, (count, 1), generator=generator)
        centres = [torch.randint(length, (count, 1), generator=generator) for length in size]
        corners = [centre - side // 2 for centre, side in zip(centres, self._sides(size), strict=True)]
        noise = torch.randn((count, *shape), generator=generator) if self.noise else None
        return Draws(torch.cat([*shifts, flips, *corners], dim=1), noise)

    def apply(self, examples: Tensor, draws: Draws) -> Tensor:
        """Changes examples.

        Args:
            examples: (N, C, *size), normalised: each channel has mean 0 and standard deviation 1.
            draws: of N examples, on their device.

        Returns:
            (N, C, *size)
        """
        dims, size = examples.dim() - 2, tuple(examples.shape[2:])
        corners, sides = draws.places[:, dims + 1 :], self._sides(size)
        examples = self.moved(examples, draws)
        if all(sides):
            examples = examples.masked_fill(_boxes(corners, sides, size), 0)
        if draws.noise is not None:
            examples = examples + self.noise * draws.noise
        return examples

    def moved(self, examples: Tensor, draws: Draws) -> Tensor:
        """Shifts and mirrors examples, or what belongs to their places: (N, C, *size) to the same."""
        dims, size = examples.dim() - 2, tuple(examples.shape[2:])
        shifts, flips, _ = draws.places.split([dims, 1, dims], dim=1)
        reach = self._reach(size)
        if any(reach):
            examples = _shift(examples, shifts, reach)
        if self.flip:
            examples = torch.where(flips.view(-1, *[1] * (dims + 1)) == 1, examples.flip(-1), examples)
        return examples


def _shift(examples: Tensor, offsets: Tensor, reach: list[int]) -> Tensor:
    """Cuts a window out of each, which is padded by its reach along each dimension. offsets: (N, dims), 0..2*reach."""
    windows = nn.functional.pad(examples, [r for r in reversed(reach) for _ in range(2)], mode="reflect")
    for axis, length in enumerate(examples.shape[2:], start=2):
        windows = windows.unfold(axis, length, 1)
    # windows: (N, C, *places, *size), a view; one place for each example
    every = torch.arange(len(examples), device=examples.device)
    places: tuple[Tensor | slice, ...] = (every, slice(None), *offsets.unbind(dim=1))
    return windows[places]


def _boxes(corners: Tensor, sides: list[int], size: tuple[int, ...]) -> Tensor:
    """Where a box with these sides stands. corners: (N, dims). Returns (N, 1, *size), bool."""
    inside = torch.ones(len(corners), *[1] * (len(size) + 1), dtype=torch.bool, device=corners.device)
    for axis, (length, side) in enumerate(zip(size, sides, strict=True)):
        away = torch.arange(length, device=corners.device) - corners[:, axis, None]  # shape: (N, length)
        along = [-1, *[1] * (len(size) + 1)]
        along[axis + 2] = length
        inside = inside & ((away >= 0) & (away < side)).view(along)
    return inside
