"""Stages of random networks that work on tokens: positions, norms, mixing, attention. They take (N, C, *spatial)."""

import random
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.laws.random_layers import CONV, Shape, activation
from tests.laws.random_moves import ADAPTIVE_POOL_CALL

MANY = 20  # tokens; where a map has more it is pooled before they attend to each other


# Tokens


class Tokens(nn.Module):
    """Places as tokens, (N, places, C), through linear layers and back."""

    def __init__(self, rng: random.Random, shape: Shape) -> None:
        super().__init__()
        width, self.size = rng.choice((2, 4)), shape[1:]
        self.first, self.activation = nn.Linear(shape[0], width, bias=rng.random() < 0.7), activation(rng)
        self.second = nn.Linear(width, rng.choice((2, 3, 4))) if rng.random() < 0.5 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.activation(self.first(x.flatten(2).transpose(1, 2))))
        return x.transpose(1, 2).unflatten(2, self.size)


class Mixed(nn.Module):
    """A linear layer over the places of each channel (MLP-Mixer)."""

    def __init__(self, rng: random.Random, shape: Shape) -> None:
        super().__init__()
        places = prod(shape[1:])
        self.norm = nn.LayerNorm(shape[0]) if rng.random() < 0.5 else nn.Identity()
        self.first, self.second, self.activation = nn.Linear(places, 3), nn.Linear(3, places), activation(rng)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        mixed = self.second(self.activation(self.first(self.norm(tokens).transpose(1, 2))))
        return x + mixed.reshape(x.shape)


class Moved(nn.Module):
    """Channels last for a norm and two linear layers, with what went in added (ConvNeXt)."""

    def __init__(self, rng: random.Random, shape: Shape) -> None:
        super().__init__()
        dims, channels = len(shape) - 1, shape[0]
        self.depthwise = CONV[dims](channels, channels, 3, padding=1, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.wide, self.narrow, self.activation = nn.Linear(channels, 5), nn.Linear(5, channels), activation(rng)
        self.scale = nn.Parameter(torch.randn(channels)) if rng.random() < 0.5 else None
        self.last, self.first = (0, *range(2, dims + 2), 1), (0, dims + 1, *range(1, dims + 1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depthwise(x).permute(self.last))
        y = self.narrow(self.activation(self.wide(y)))
        y = y if self.scale is None else self.scale * y
        return x + y.permute(self.first)


class Positions(nn.Module):
    """A constant for each place, or for each place and channel; learned, frozen, or a buffer."""

    def __init__(self, rng: random.Random, shape: Shape) -> None:
        super().__init__()
        channels = rng.choice((shape[0], 1))
        values = torch.randn(*rng.choice(((1,), ())), channels, *shape[1:])
        self.multiplied, kind = rng.random() < 0.4, rng.random()
        if kind < 0.7:
            self.values = nn.Parameter(values, requires_grad=kind < 0.5)
        else:
            self.register_buffer("values", values)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.values if self.multiplied else x + self.values


class ClassToken(nn.Module):
    """A token of its own before those of the places; what it came to is a factor of each of them."""

    def __init__(self, rng: random.Random, shape: Shape) -> None:
        super().__init__()
        channels, places = shape[0], prod(shape[1:])
        self.token = nn.Parameter(torch.randn(1, 1, channels))
        self.positions = nn.Parameter(torch.randn(1, places + 1, channels) / 2)
        self.linear, self.kept = nn.Linear(channels, channels), rng.random() < 0.5
        self.norm = nn.LayerNorm(channels) if rng.random() < 0.5 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        tokens = torch.cat((self.token.expand(x.shape[0], -1, -1), tokens), 1) + self.positions
        tokens = self.linear(self.norm(tokens))
        rest = tokens[:, 1:] if self.kept else tokens[:, 1:] * tokens[:, :1].sigmoid()
        return rest.transpose(1, 2).reshape(x.shape)


# Attention


class HandWritten(nn.Module):
    """Heads of queries, keys and values, as vision transformers write them."""

    def __init__(self, rng: random.Random, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.fused = heads, rng.random() < 0.5
        self.all, self.out = nn.Linear(width, 3 * width, bias=rng.random() < 0.5), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        samples, tokens, width = x.shape
        each = self.all(x).reshape(samples, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        query, key, value = each.unbind(0)
        if self.fused:
            found = F.scaled_dot_product_attention(query, key, value)
        else:
            shares = (query @ key.transpose(-2, -1)) * (width // self.heads) ** -0.5
            found = shares.softmax(dim=-1) @ value
        return self.out(found.transpose(1, 2).reshape(samples, tokens, width))


class OfTorch(nn.Module):
    """The layer that torch has."""

    def __init__(self, rng: random.Random, width: int, heads: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, bias=rng.random() < 0.7, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x, x, x, need_weights=False)[0]


class OneHead(nn.Module):
    """Queries, keys and values of their own layers, with a bias for each pair of tokens."""

    def __init__(self, rng: random.Random, width: int, heads: int, tokens: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, w) for w in (3, 3, width))
        self.bias = nn.Parameter(torch.randn(tokens, tokens)) if rng.random() < 0.5 else None

    def forward(self, x: Tensor) -> Tensor:
        scores = torch.bmm(self.query(x), self.key(x).transpose(1, 2)) / 3**0.5
        scores = scores if self.bias is None else scores + self.bias
        return F.softmax(scores, -1) @ self.value(x)


class SelfAttention(nn.Module):
    """Places that attend to each other, with what went in added."""

    def __init__(self, rng: random.Random, shape: Shape) -> None:
        super().__init__()
        size, heads = shape[1:], rng.choice((1, 2))
        width = heads * rng.choice((2, 3))
        self.size = (
            size
            if prod(size) <= MANY
            else tuple(min(n, MANY if len(size) == 1 else 4 // (len(size) - 1)) for n in size)
        )
        self.embed = CONV[len(size)](shape[0], width, 1)
        self.norm = nn.LayerNorm(width) if rng.random() < 0.6 else nn.Identity()
        kind = rng.random()
        if kind < 0.5:
            self.attention = HandWritten(rng, width, heads)
        elif kind < 0.75:
            self.attention = OfTorch(rng, width, heads)
        else:
            self.attention = OneHead(rng, width, heads, prod(self.size))

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2:] != self.size:
            x = ADAPTIVE_POOL_CALL[x.dim() - 2](x, self.size)
        tokens = self.embed(x).flatten(2).transpose(1, 2)
        tokens = tokens + self.attention(self.norm(tokens))
        return tokens.transpose(1, 2).unflatten(2, self.size)


class Encoder(nn.Module):
    """A whole layer of a transformer, as torch has it."""

    def __init__(self, rng: random.Random, shape: Shape) -> None:
        super().__init__()
        self.size = tuple(min(n, 3) for n in shape[1:])
        self.embed = CONV[len(self.size)](shape[0], 4, 1)
        self.layer = nn.TransformerEncoderLayer(
            4,
            rng.choice((1, 2)),
            6,
            activation=rng.choice((F.relu, F.gelu)),
            batch_first=True,
            norm_first=rng.random() < 0.5,
        )

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.embed(ADAPTIVE_POOL_CALL[x.dim() - 2](x, self.size)).flatten(2).transpose(1, 2)
        return self.layer(tokens).transpose(1, 2).unflatten(2, self.size)


class ChannelsAttend(nn.Module):
    """Channels that attend to each other over all places."""

    def __init__(self, rng: random.Random, shape: Shape) -> None:
        super().__init__()
        self.query, self.key, self.value = (CONV[len(shape) - 1](shape[0], 3, 1) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (layer(x).flatten(2) for layer in (self.query, self.key, self.value))
        shares = torch.softmax(torch.matmul(query, key.transpose(1, 2)) * 0.2, dim=-1)
        return torch.matmul(shares, value).view(x.shape[0], 3, *x.shape[2:])
