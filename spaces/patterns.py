"""Patterns of weights: N:M, columns, channels or blocks by parametrised structured pruning (PSP), and single weights.

With "2:4" the two largest of every four weights that lie side by side along the inputs stay. All weights learn by a
straight-through gradient, and those that are masked decay (SR-STE, Zhou et al., ICLR 2021, arXiv 2102.04010, eq. 9).

With "columns", "channels" and "blocks 4x8" each structure has a parameter v. Its weights are w * alpha(v), with
alpha(v) = v where |v| > eps and 0 elsewhere. The gradient of alpha passes to v as it is, and v decays (Schindler et
al., LOD 2020, arXiv 1911.11170). Here eps is THRESHOLD times the largest |v| of the layer. A norm behind the layer
undoes a common factor, so with a fixed eps all structures of a layer would fall together. One structure always stays. A
column is one place of the kernel and one input, in all outputs. A channel is all weights of one output. A block "4x8"
spans 4 outputs and 8 places of the flattened inputs.

With "weights" each weight stays or is gone by itself, as a strategy that prunes weights says. Training does not change
which ones stay.

The zeros remain in the layer, which is stored and computed as a dense one (docs/methods.md, section 7).
"""

import re
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function

from search.errors import PicojouleError, UsageError
from spaces.autograd import applied

THRESHOLD = 0.1
MASKED_DECAY = 2e-4
DENSE = "its zeros are stored and computed like other weights: no cost falls by them"
STRUCTURES = ("columns", "channels")
SINGLE = "weights"


class UnfitPattern(PicojouleError, ValueError):
    """A layer is too small for the pattern."""


def parse(pattern: str) -> tuple[str, int, int]:
    """(kind, a, b) of "N:M", "columns", "channels", "blocks RxC" or "weights".

    Raises:
        UsageError: the pattern is none of these.
    """
    if pattern in (*STRUCTURES, SINGLE):
        return pattern, 0, 0
    found = re.fullmatch(r"(\d+):(\d+)", pattern)
    if found and 0 < int(found[1]) < int(found[2]):
        return "n_m", int(found[1]), int(found[2])
    found = re.fullmatch(r"blocks (\d+)x(\d+)", pattern)
    if found and int(found[1]) * int(found[2]) > 1:
        return "blocks", int(found[1]), int(found[2])
    if pattern.isdigit():
        raise UsageError(f"pattern '{pattern}': YAML reads 2:4 as a number of base 60. Put it in quotes: '2:4'.")
    raise UsageError(
        f"pattern '{pattern}': 'N:M' with N < M, 'columns', 'channels', 'blocks RxC' and 'weights' are possible."
    )


def made(pattern: str, shape: tuple[int, ...]) -> "NM | Structured | Single":
    """The pattern of weights (C_out, C_in / groups, *kernel).

    Raises:
        UnfitPattern: the weights are smaller than the pattern.
    """
    kind, a, b = parse(pattern)
    if kind == "n_m":
        return NM(a, b, shape)
    if kind == SINGLE:
        return Single(shape)
    return Structured(kind, (a, b), shape)


class _StraightDecayed(Function):
    """It is w * mask. The backward pass gives the gradient to all weights, and pulls masked ones to 0."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, mask: Tensor) -> Tensor:
        ctx.save_for_backward(weight, mask)
        return weight * mask

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        weight, mask = ctx.saved_tensors
        return grad + MASKED_DECAY * (weight - weight * mask), None


class NM(nn.Module):
    """Of every m open inputs side by side the n largest weights stay. So do weights left over at the end."""

    def __init__(self, n: int, m: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        if shape[1] < m:
            raise UnfitPattern(f"each output reads {shape[1]} inputs, the pattern is {n}:{m}")
        self.n, self.m = n, m

    def forward(self, weight: Tensor, inputs: Tensor | None) -> Tensor:
        return applied(_StraightDecayed, weight, self.mask(weight, inputs).to(weight.dtype))

    @torch.no_grad()
    def mask(self, weight: Tensor, inputs: Tensor | None) -> Tensor:
        """Which weights stay: bool, of the shape of weight.

        Args:
            inputs: indices of the inputs that are open, in ascending order; None where all are open.
        """
        sizes = weight.detach().abs().movedim(1, -1)
        mask = torch.ones_like(sizes, dtype=torch.bool)
        inputs = torch.arange(sizes.shape[-1], device=weight.device) if inputs is None else inputs
        inputs = inputs[: len(inputs) // self.m * self.m]
        if len(inputs):
            groups = sizes[..., inputs].unflatten(-1, (-1, self.m))
            smallest = groups.argsort(dim=-1, stable=True)[..., : self.m - self.n]
            mask[..., inputs] = torch.ones_like(groups, dtype=torch.bool).scatter(-1, smallest, False).flatten(-2)
        return mask.movedim(-1, 1)


class _Cut(Function):
    """It is v where |v| > THRESHOLD max |v|, and 0 elsewhere. The backward pass is the identity."""

    @staticmethod
    def forward(ctx: Any, v: Tensor) -> Tensor:
        return v * (v.abs() > THRESHOLD * v.abs().max())

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad


class Structured(nn.Module):
    """A parameter for each column, channel or block."""

    def __init__(self, kind: str, block: tuple[int, int], shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape
        inputs = torch.Size(shape[1:]).numel()
        self.block = {"columns": (shape[0], 1), "channels": (1, inputs), "blocks": block}[kind]
        if self.block[0] > shape[0] or self.block[1] > inputs:
            raise UnfitPattern(f"weights are {shape[0]} by {inputs}, the pattern is {self.block[0]} by {self.block[1]}")
        counts = [-(-size // part) for size, part in zip((shape[0], inputs), self.block, strict=True)]
        self.v = nn.Parameter(torch.ones(counts))

    def forward(self, weight: Tensor, inputs: Tensor | None) -> Tensor:
        return weight * self._spread(applied(_Cut, self.v))

    @torch.no_grad()
    def mask(self, weight: Tensor, inputs: Tensor | None) -> Tensor:
        """Which weights stay: bool, of the shape of weight."""
        return self._spread(applied(_Cut, self.v)) != 0

    def _spread(self, alpha: Tensor) -> Tensor:
        """A value for each weight: (C_out, C_in / groups, *kernel)."""
        rows, columns = self.shape[0], torch.Size(self.shape[1:]).numel()
        spread = alpha.repeat_interleave(self.block[0], 0)[:rows]
        return spread.repeat_interleave(self.block[1], 1)[:, :columns].view(self.shape)


class Single(nn.Module):
    """Weights that are gone are 0, and nothing pulls at them.

    Attributes:
        kept: which weights stay: bool, of the shape of weight.
    """

    kept: Tensor

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("kept", torch.ones(shape, dtype=torch.bool))

    def forward(self, weight: Tensor, inputs: Tensor | None) -> Tensor:
        return weight * self.kept

    def mask(self, weight: Tensor, inputs: Tensor | None) -> Tensor:
        """Which weights stay: bool, of the shape of weight."""
        return self.kept
