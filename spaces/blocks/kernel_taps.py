"""Which taps of a kernel are on offer, and what a convolution is once the others are gone.

A tap that a mask zeroes adds nothing. So the masked layer and the cropped one compute the same, where the padding
shrinks with the kernel. There are three choices, each among nested masks (docs/methods.md, section 2):

- kernel: centred squares, 1x1 in 3x3 in 5x5 in 7x7, of a kernel with equal sides.
- receptive_field, dilation: of 1-D kernels, PIT (Risso et al., IEEE TComp 2022). Taps are counted from the present,
  which is the last one, into the past. The first r stay, and of those every d-th. The product of both masks multiplies
  the weights.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from search.errors import UsageError

KERNEL, RECEPTIVE_FIELD, DILATION = ROLES = ("kernel", "receptive_field", "dilation")


def taps_kept(role: str, size: int, option: int) -> list[int]:
    """Indices of the taps that stay, along one dimension of a kernel of `size` taps."""
    if role == KERNEL:
        return list(range((size - option) // 2, (size + option) // 2))
    ages = range(size - 1, -1, -1)  # of the taps, in steps from the present
    return [i for i, age in enumerate(ages) if (age < option if role == RECEPTIVE_FIELD else age % option == 0)]


def masks(role: str, kernel: Sequence[int], options: Sequence[int]) -> Tensor:
    """(n_options, *kernel) of zeros and ones."""
    made = torch.zeros(len(options), *kernel, device="cpu")
    for mask, option in zip(made, options, strict=True):
        index = torch.meshgrid(
            *[torch.tensor(taps_kept(role, size, option), device="cpu") for size in kernel], indexing="ij"
        )
        mask[index] = 1
    return made


def kernel_options(attributes: Mapping[str, Any], wanted: Sequence[int]) -> tuple[int, ...]:
    """Kernel sizes for a convolution: its own, and smaller ones with the same centre that its padding covers."""
    sizes, padding, dilation = attributes["kernel"], attributes["padding"], attributes["dilation"]
    size = sizes[0]
    if any(side != size for side in sizes):
        return (size,)
    least = min(min(pair) // gap for pair, gap in zip(padding, dilation, strict=True))
    smaller = [k for k in sorted(set(wanted)) if 0 < k < size and (size - k) % 2 == 0 and (size - k) // 2 <= least]
    return (*smaller, size)


def time_options(attributes: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Receptive fields and dilations of a 1-D convolution, the largest field and the densest taps last.

    Raises:
        UsageError: the padding does not cover what the kernel reaches back. The message says what is needed.
    """
    (size,), ((past, _),), (gap,) = attributes["kernel"], attributes["padding"], attributes["dilation"]
    reach = (size - 1) * gap
    if past < reach:
        raise UsageError(
            f"is padded by {past} on the left, its {size} taps reach back {reach}: without the oldest taps its output "
            f"would start elsewhere. Pad {reach} on the left, F.pad(x, ({reach}, 0)), or leave it out of space.time"
        )
    powers = [2**i for i in range(size) if 2**i < size]
    return {RECEPTIVE_FIELD: tuple(range(1, size + 1)), DILATION: tuple(reversed(powers))}


def cropped(attributes: dict[str, Any], picks: Mapping[str, int]) -> tuple[dict[str, Any], list[Tensor]]:
    """A convolution without the taps that the picks mask, and for each dimension the indices of those that stay."""
    made, index = dict(attributes), []
    kernel, padding, dilation = ([*attributes[key]] for key in ("kernel", "padding", "dilation"))
    for dim, size in enumerate(attributes["kernel"]):
        kept = set(range(size))
        for role, option in picks.items():
            kept &= set(taps_kept(role, size, option))
        stays = sorted(kept)
        gap, (low, high) = dilation[dim], padding[dim]
        if len(stays) > 1:
            dilation[dim] = gap * (stays[1] - stays[0])
        kernel[dim], padding[dim] = len(stays), [low - stays[0] * gap, high - (size - 1 - stays[-1]) * gap]
        index.append(torch.tensor(stays))
    return made | {"kernel": kernel, "padding": padding, "dilation": dilation}, index
