"""Random networks that see the past alone: heard place by place they compute what the whole computes."""

import random

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from search.deploy.lower import lower
from search.integer.executor import Executor
from search.integer.program import Program
from search.integer.stepping import stepped
from spaces.options import Options
from spaces.searchable import searchable
from tests.laws.random_recurrence import CELLS
from tests.laws.random_stages import Causal
from tests.search.integer.test_stepping import run_by_steps

QUICK, SLOW = 20, 150


class Cell(nn.Module):
    """A recurrent layer over (N, C, T), all of whose places go on."""

    def __init__(self, rng: random.Random, channels: int) -> None:
        super().__init__()
        self.cell = rng.choice(CELLS)(channels, rng.randint(2, 6), rng.choice((1, 1, 2)), batch_first=True)
        self.width = self.cell.hidden_size

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.cell(x.transpose(1, 2))[0].transpose(1, 2)
        return y


class Strided(nn.Module):
    """A convolution in time that gives every second place, or all of them, from the past."""

    def __init__(self, rng: random.Random, channels: int) -> None:
        super().__init__()
        self.width, taps, self.stride = rng.randint(2, 6), rng.choice((2, 3, 5)), rng.choice((1, 2))
        self.conv = nn.Conv1d(channels, self.width, taps, self.stride)
        self.pad = nn.ConstantPad1d((taps - 1, 0), 0.0)
        self.activation = rng.choice((nn.ReLU, nn.SiLU, nn.Tanh))()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.activation(self.conv(self.pad(x)))
        return y


class Net(nn.Module):
    def __init__(self, rng: random.Random, channels: int, length: int) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        for _ in range(rng.randint(1, 4)):
            after = any(isinstance(stage, Cell) for stage in stages)  # a step is then one place, which no stride takes
            kind = rng.choice((Cell, Causal, Causal) if after else (Cell, Strided, Causal, Causal))
            stages.append(Causal(rng, (channels, length)) if kind is Causal else kind(rng, channels))
            channels = getattr(stages[-1], "width", channels)
        self.stages, self.head = nn.Sequential(*stages), nn.Linear(channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.stages(x)[..., -1])
        return y


def random_program(seed: int) -> tuple[Program, Tensor]:
    rng = random.Random(seed)
    torch.manual_seed(seed)
    channels, length = rng.randint(1, 4), 32
    net, x = Net(rng, channels, length).eval(), torch.randn(4, channels, length)
    space = searchable(net, x, Options(weight_bits=(rng.choice((2, 4, 8)),), activation_bits=(rng.choice((4, 8)),)))
    space.calibrate([x])
    return lower(space.decide().eval()), x


def assert_steps_agree(seed: int) -> None:
    whole, x = random_program(seed)
    step = stepped(whole)
    step.validate()
    expected = Executor(whole)(x.numpy(), intermediate=True)
    found = run_by_steps(step, expected[whole.inputs[0]])
    for name in whole.outputs:
        np.testing.assert_array_equal(found[-1][name], expected[name])
    sequences = [n for n in expected if n in step.tensors and expected[n][0].ndim == 2 and n not in step.inputs]
    sequences = [n for n in sequences if expected[n].shape[-1] > 1]  # the last place alone is none
    for name in sequences:
        together = np.concatenate([each[name] for each in found], -1)
        np.testing.assert_array_equal(together[..., : expected[name].shape[-1]], expected[name], err_msg=name)


@pytest.mark.parametrize("seed", range(QUICK))
def test_steps_compute_what_the_whole_computes(seed: int) -> None:
    assert_steps_agree(seed)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(QUICK, QUICK + SLOW, 25))
def test_many_more(first: int) -> None:
    for seed in range(first, first + 25):
        assert_steps_agree(seed)
