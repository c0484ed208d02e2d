"""Stages of random networks that go through a sequence place by place. Each takes and gives (N, C, *spatial)."""

import random

import torch
from torch import Tensor, nn

from tests.laws.random_layers import Shape

CELLS = (nn.GRU, nn.GRU, nn.LSTM, nn.LSTM, nn.RNN)


class Recurrent(nn.Module):
    """Along the last axis: of rows, each of their pixels is a feature."""

    def __init__(self, rng: random.Random, shape: Shape) -> None:
        super().__init__()
        *features, _ = shape
        size, hidden, layers = int(torch.tensor(features).prod()), rng.randint(2, 6), rng.choice((1, 1, 2))
        more = {"nonlinearity": rng.choice(("tanh", "relu"))} if (cell := rng.choice(CELLS)) is nn.RNN else {}
        self.first = rng.random() < 0.7
        self.cell = cell(size, hidden, layers, bias=rng.random() < 0.8, batch_first=self.first, **more)
        self.reads = rng.choice((self._all, self._last, self._state, self._both))

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(1, -2) if x.dim() > 3 else x
        tokens = tokens.transpose(1, 2) if self.first else tokens.permute(2, 0, 1)
        every, last = self.cell(tokens)
        every = every if self.first else every.transpose(0, 1)
        y = self.reads(every, last[0] if isinstance(last, tuple) else last)
        return y.reshape(*y.shape[:2], *(1,) * (x.dim() - 3), -1)

    @staticmethod
    def _all(every: Tensor, last: Tensor) -> Tensor:
        return every.transpose(1, 2)

    @staticmethod
    def _last(every: Tensor, last: Tensor) -> Tensor:
        return every[:, -1, :, None]

    @staticmethod
    def _state(every: Tensor, last: Tensor) -> Tensor:
        return last[-1].unsqueeze(2)

    @staticmethod
    def _both(every: Tensor, last: Tensor) -> Tensor:
        return every.transpose(1, 2) * last[0].unsqueeze(-1)
