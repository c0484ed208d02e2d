"""A small transformer encoder (Vaswani et al., arXiv 1706.03762) over patches of a series, with its norms in front.

The norms come before attention and MLP (Xiong et al., arXiv 2002.04745), and patches are cut as in the vision
transformer (Dosovitskiy et al., arXiv 2010.11929).
"""

from math import sqrt

import torch
from torch import Tensor, nn

from search.errors import UsageError


class EncoderBlock(nn.Module):
    """Attention of every token to every token, then an MLP for each; what goes in is added: (N, tokens, width) each."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.out(self.attention(self.norm1(x)))
        x = x + self.mlp(self.norm2(x))
        return x

    def attention(self, x: Tensor) -> Tensor:
        """softmax(q k^T / sqrt(d)) v, equation 1, in each head: (N, tokens, width) -> (N, tokens, width)."""
        q, k, v = (self._in_heads(layer(x)) for layer in (self.query, self.key, self.value))
        scores = q @ k.transpose(-2, -1) / sqrt(q.shape[-1])  # (N, heads, tokens, tokens)
        return (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)

    def _in_heads(self, x: Tensor) -> Tensor:
        """(N, tokens, width) -> (N, heads, tokens, width / heads)."""
        apart: Tensor = x.unflatten(-1, (self.heads, x.shape[-1] // self.heads))
        return apart.transpose(1, 2)


class TinyTransformer(nn.Module):
    """(N, in_channels, T) -> (N, classes) logits; about 18k weights for 6 channels of 128 moments.

    Args:
        features: elements of one example, in_channels * T.
        patch: moments that make one token. What is left over at the end is not read.
        hidden: of the MLP of each block.

    Raises:
        UsageError: a series is shorter than a patch, or width is no multiple of heads.
    """

    def __init__(
        self,
        in_channels: int = 6,
        classes: int = 7,
        features: int = 768,
        width: int = 32,
        heads: int = 2,
        blocks: int = 2,
        patch: int = 8,
        hidden: int = 64,
    ) -> None:
        super().__init__()
        tokens = features // in_channels // patch
        if tokens < 1 or width % heads:
            raise UsageError(
                f"TinyTransformer: {features // in_channels} moments, patch {patch}, width {width}, heads {heads}; "
                "a series has at least one patch, and width is a multiple of heads."
            )
        self.patches = nn.Conv1d(in_channels, width, patch, patch)
        self.position = nn.Parameter(0.02 * torch.randn(tokens, width))
        self.blocks = nn.Sequential(*(EncoderBlock(width, heads, hidden) for _ in range(blocks)))
        self.norm = nn.LayerNorm(width)
        self.classifier = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).transpose(1, 2) + self.position  # (N, tokens, width)
        logits: Tensor = self.classifier(self.norm(self.blocks(tokens)).mean(1))
        return logits
