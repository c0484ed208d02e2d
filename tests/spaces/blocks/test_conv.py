"""Convolutions of one tap with a stride: as torch computes them, and without its writing beyond the ends of tensors."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from spaces.searchable import Options, searchable

SCRIPT = """
import torch
from torch import nn
from spaces.searchable import Options, searchable
torch.set_num_threads(1)
space = searchable(nn.Sequential(nn.Conv2d(6, 15, 1, 2), nn.Flatten()), torch.zeros(2, 6, 8, 8), Options((8,)))
space.train().set_mode("float")
for _ in range(200):
    space(torch.randn(64, 6, 8, 8, requires_grad=True)).sum().backward()
    junk = [torch.randn(j) for j in range(1, 60)]
"""


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv2d(6, 15, 1, 2), (6, 8, 8)),
        (nn.Conv2d(6, 15, 1, (1, 3), bias=False), (6, 5, 9)),
        (nn.Conv1d(4, 6, 1, 2, groups=2), (4, 7)),
        (nn.Conv3d(3, 2, 1, 2), (3, 4, 5, 6)),
        (nn.Conv2d(3, 4, 1, 2, padding=1), (3, 7, 7)),
    ],
)
def test_values_and_gradients_are_those_of_torch(layer, shape):
    torch.manual_seed(0)
    space = searchable(nn.Sequential(layer, nn.Flatten()), torch.zeros(2, *shape), Options((8,)))
    space.train().set_mode("float")
    x, y = (torch.randn(3, *shape, generator=torch.Generator().manual_seed(1)).requires_grad_() for _ in range(2))
    found, expected = space(x), layer(y).flatten(1)
    torch.testing.assert_close(found, expected)
    found.square().sum().backward()
    expected.square().sum().backward()
    torch.testing.assert_close(x.grad, y.grad)
    torch.testing.assert_close(space.weights["0"].weight.grad, layer.weight.grad)


def test_training_of_a_layer_that_torch_dies_of_goes_well():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
