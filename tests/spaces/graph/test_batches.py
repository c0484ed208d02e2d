"""Tensors whose batch is not their dimension 0, or is joined with others: frames of a film, windows of an image."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.spaces.graph.converting import Form

NEAR = 1e-4  # of the largest output
TOKENS, FRAMES, IMAGES = ((5, 6),), ((2, 3, 4, 4),), ((3, 4, 4),)


class WindowAttention(nn.Module):
    """Attention as Swin writes it: a learned number for each pair of relative positions, and a mask for each window."""

    def __init__(self, width: int, heads: int, windows: int = 0) -> None:
        super().__init__()
        self.qkv, self.out, self.heads, self.windows = (
            nn.Linear(width, 3 * width),
            nn.Linear(width, width),
            heads,
            windows,
        )
        self.table = nn.Parameter(torch.randn(9, heads))
        self.register_buffer("pairs", torch.arange(16).view(4, 4) % 9)
        self.register_buffer("mask", -16.0 * (torch.arange(16 * windows).view(windows, 4, 4) % 3 == 0))

    def forward(self, x: Tensor) -> Tensor:
        n, tokens, width = x.shape
        qkv = self.qkv(x).reshape(n, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0], qkv[1], qkv[2]
        scores = (q * (width // self.heads) ** -0.5) @ k.transpose(-2, -1)
        scores = scores + self.table[self.pairs.view(-1)].view(tokens, tokens, -1).permute(2, 0, 1).unsqueeze(0)
        if self.windows:
            scores = scores.view(-1, self.windows, self.heads, tokens, tokens) + self.mask[None, :, None]
            scores = scores.view(-1, self.heads, tokens, tokens)
        return self.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(n, tokens, width))


class ShiftedWindows(nn.Module):
    """A block of a Swin transformer over (N, H, W, C)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm, self.attention = nn.LayerNorm(width), WindowAttention(width, heads, windows=4)
        self.perceptron = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 12), nn.GELU(), nn.Linear(12, width))

    def forward(self, x: Tensor) -> Tensor:
        y = in_windows(torch.roll(self.norm(x), (-1, -1), (1, 2)))
        x = x + torch.roll(out_of_windows(self.attention(y), *x.shape[1:3]), (1, 1), (1, 2))
        return x + self.perceptron(x)


SECOND = {
    "linear": (lambda n, x: n.h(n.layer(x.transpose(0, 1)).relu().mean(0)), lambda: nn.Linear(6, 8)),
    "last": (lambda n, x: n.h(n.layer(x.permute(1, 2, 0).permute(2, 0, 1)).mean(1)), lambda: nn.Linear(6, 8)),
    "LayerNorm": (lambda n, x: n.h(n.layer(x.transpose(0, 1)).mean(0)), lambda: nn.LayerNorm(6)),
    "softmax": (lambda n, x: n.h(n.layer(x.transpose(0, 1)).mean(0)), lambda: nn.Softmax(-1)),
    "a part": (lambda n, x: n.h(n.layer(x.transpose(0, 1)[1:, :, ::2])[-1]), lambda: nn.Linear(3, 8)),
    "a sum over tokens": (lambda n, x: n.h(n.layer(x.transpose(0, 1)).sum(0)), lambda: nn.Linear(6, 8)),
    "a concatenation": (
        lambda n, x: n.h(n.layer(torch.cat([x.transpose(0, 1), x.transpose(0, 1).flip(0)], 2))[0]),
        lambda: nn.Linear(12, 8),
    ),
    "zeros": (lambda n, x: n.h(n.layer(F.pad(x.transpose(0, 1), (0, 0, 0, 0, 1, 0))).mean(0)), lambda: nn.Linear(6, 8)),
    "joined with tokens": (
        lambda n, x: n.h(n.layer(x.reshape(-1, 6)).relu().view(-1, 5, 8).mean(1)),
        lambda: nn.Linear(6, 8),
    ),
    "TransformerEncoderLayer": (
        lambda n, x: n.h(n.layer(x.transpose(0, 1))[-1]),
        lambda: nn.TransformerEncoderLayer(6, 2, 12),
    ),
    "MultiheadAttention": (
        lambda n, x: n.h(n.layer(y := x.transpose(0, 1), y, y)[0].transpose(0, 1).mean(1)),
        lambda: nn.MultiheadAttention(6, 2),
    ),
}


@pytest.mark.parametrize("name", SECOND)
def test_a_batch_that_is_another_dimension_is_followed(name):
    form, layer = SECOND[name]
    Form("", form, lambda: {"layer": layer()}, TOKENS, NEAR).check()


def of_frames(n, x):
    """Images of a sequence, each by itself, and the mean of what they give."""
    return n.h(n.layer(x.flatten(0, 1)).mean((2, 3)).unflatten(0, (-1, 2)).mean(1))


def in_windows(x):
    """(N, H, W, C) to (N * H / 2 * W / 2, 4, C)."""
    n, h, w, c = x.shape
    return x.view(n, h // 2, 2, w // 2, 2, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, 4, c)


def out_of_windows(x, height, width):
    """(N * H / 2 * W / 2, 4, C) to (N, H, W, C)."""
    n = x.shape[0] * 4 // (height * width)
    return x.view(n, height // 2, width // 2, 2, 2, -1).permute(0, 1, 3, 2, 4, 5).reshape(n, height, width, -1)


def of_windows(n, x):
    """Attention within windows of 2 x 2 places."""
    y = n.a(x).permute(0, 2, 3, 1)
    return n.h(out_of_windows(n.layer(in_windows(y)), *x.shape[2:]).mean((1, 2)))


def of_segments(n, x):
    """A convolution within segments of 3 places of a sequence."""
    y = n.layer(x.unflatten(2, (2, 3)).transpose(1, 2).flatten(0, 1))
    return n.h(y.unflatten(0, (-1, 2)).transpose(1, 2).flatten(2).mean(2))


JOINED = {
    "a convolution": (of_frames, lambda: nn.Conv2d(3, 5, 3, padding=1), FRAMES),
    "a convolution of as many channels as there are frames in a batch": (of_frames, lambda: nn.Conv2d(3, 4, 1), FRAMES),
    "a norm and a pool": (
        of_frames,
        lambda: nn.Sequential(nn.Conv2d(3, 5, 1), nn.BatchNorm2d(5), nn.ReLU(), nn.MaxPool2d(2)),
        FRAMES,
    ),
    "an average": (of_frames, lambda: nn.Sequential(nn.Conv2d(3, 5, 1), nn.AvgPool2d(2)), FRAMES),
    "attention": (of_windows, lambda: WindowAttention(8, 2), IMAGES),
    "attention with a mask for each window": (of_windows, lambda: WindowAttention(8, 2, windows=4), IMAGES),
    "a block of shifted windows": (
        lambda n, x: n.h(n.layer(n.a(x).permute(0, 2, 3, 1)).mean((1, 2))),
        lambda: ShiftedWindows(8, 2),
        IMAGES,
    ),
    "an encoder": (of_windows, lambda: nn.TransformerEncoderLayer(8, 2, 12, batch_first=True), IMAGES),
    "a segment": (of_segments, lambda: nn.Conv1d(5, 8, 3, padding=1), TOKENS),
}


@pytest.mark.parametrize("name", JOINED)
def test_what_the_batch_is_joined_with_is_followed(name):
    form, layer, shapes = JOINED[name]
    Form("", form, lambda: {"layer": layer()}, shapes, NEAR).check()
