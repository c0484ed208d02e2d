"""Random changes of training images, as tensor operations on a whole batch.

Drawing is apart from applying. Processes that share a batch can therefore all draw for the whole batch, and each
applies the changes to its own part.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from search.data.data import DataError


@dataclass
class Augment:
    """What may change. By default nothing does. Images may have 1, 2 or 3 spatial dimensions."""

    shift: int = 0  # move by up to so many pixels along every dimension; zeros move in
    flip: bool = False  # mirror the last dimension of every other image, left to right
    cutout: int = 0  # side of a square of zeros around a random pixel (DeVries, Taylor, arXiv 1708.04552)

    def check(self, size: tuple[int, ...]) -> None:
        """Checks that something of an image of this size remains.

        Raises:
            DataError: a value is negative, or as large as the image.
        """
        for name, value in (("shift", self.shift), ("cutout", self.cutout)):
            if not 0 <= value < min(size):
                raise DataError(f"augment: {name} is {value} on images of size {size}; allowed are 0..{min(size) - 1}.")

    def draw(self, count: int, size: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Draws the changes of `count` images of this size.

        Returns:
            (count, 2 * dims + 1), int64: offset of the shift along each dimension, 0..2*shift; flip, 0 or 1;
            first pixel of the cutout along each dimension, which may lie outside the image.
        """
        shifts = torch.randint(2 * self.shift + 1, (count, len(size)), generator=generator)
        flips = torch.randint(2, (count, 1), generator=generator)
        centres = [torch.randint(side, (count, 1), generator=generator) for side in size]
        return torch.cat([shifts, flips, *(centre - self.cutout // 2 for centre in centres)], dim=1)

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        """Changes the images.

        Args:
            images: (N, C, *size), any type.
            draws: (N, 2 * dims + 1) from draw, on the images' device.

        Returns:
            (N, C, *size)
        """
        dims = images.dim() - 2
        shifts, flips, corners = draws.split([dims, 1, dims], dim=1)
        if self.shift:
            images = _shift(images, shifts, self.shift)
        if self.flip:
            images = torch.where(flips.view(-1, *[1] * (dims + 1)) == 1, images.flip(-1), images)
        if self.cutout:
            images = images.masked_fill(_boxes(corners, self.cutout, images.shape[2:]), 0)
        return images


def _shift(images: Tensor, offsets: Tensor, reach: int) -> Tensor:
    """Cuts a window out of each image, which is padded by reach on all sides. offsets: (N, dims), 0..2*reach."""
    windows = nn.functional.pad(images, [reach] * (2 * offsets.shape[1]))
    for axis, side in enumerate(images.shape[2:], start=2):
        windows = windows.unfold(axis, side, 1)
    # windows: (N, C, *places, *size), a view; one place for each image
    every = torch.arange(len(images), device=images.device)
    places: tuple[Tensor | slice, ...] = (every, slice(None), *offsets.unbind(dim=1))
    return windows[places]


def _boxes(corners: Tensor, side: int, size: torch.Size) -> Tensor:
    """Where a box of this side stands. corners: (N, dims). Returns (N, 1, *size), bool."""
    inside = torch.ones(len(corners), *[1] * (len(size) + 1), dtype=torch.bool, device=corners.device)
    for axis, length in enumerate(size):
        away = torch.arange(length, device=corners.device) - corners[:, axis, None]  # shape: (N, length)
        along = [-1, *[1] * (len(size) + 1)]
        along[axis + 2] = length
        inside = inside & ((away >= 0) & (away < side)).view(along)
    return inside
