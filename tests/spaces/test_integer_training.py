"""Training in integer mode: what norms do, and that it holds where constant statistics would let it explode."""

import math
from statistics import median

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spaces.searchable import Options
from spaces.space import FAKE, INTEGER, Space
from tests.spaces.small import half_closed, images, space_of

CLASSES = 4


class Shrinkable(nn.Module):
    """Two convolutions with norms, and a head."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.first, self.first_norm = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.second, self.second_norm = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.head = nn.Linear(8 * 9, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first_norm(self.first(x)))
        x = F.relu(self.second_norm(self.second(x)))
        return self.head(F.max_pool2d(x, 2).flatten(1))


@torch.no_grad()
def shrink(space: Space, factor: float) -> None:
    """Makes weights smaller and gains larger by the factor, so that the network computes what it did before."""
    for weights in space.weights.values():
        if weights.name != "head":
            weights.weight.mul_(factor)
            weights.quantizer.log_step.add_(math.log(factor))
    for norm in space.norms.values():
        norm.running_mean.mul_(factor)
        norm.running_var.mul_(factor**2)
        norm.eps *= factor**2


def patterns() -> tuple[Tensor, Tensor]:
    """Noisy images of four classes, and their labels."""
    labels = torch.arange(64) % CLASSES
    return images((CLASSES, 3, 6, 6), seed=2)[labels] + images((64, 3, 6, 6)), labels


def losses(space: Space, steps: int) -> list[float]:
    """Of steps on all images."""
    x, labels = patterns()
    optimizer, found = torch.optim.SGD(space.network_parameters(), lr=0.06, momentum=0.9), []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = F.cross_entropy(space(x), labels)
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


def in_integers(trained: Space, constant: bool) -> list[float]:
    """The losses of a copy of the network in integer mode."""
    space = Space(trained.spec)
    space.load_state_dict(trained.state_dict())
    for norm, original in zip(space.norms.values(), trained.norms.values(), strict=True):
        norm.eps, norm.frozen = original.eps, constant
    space.train()
    space.set_mode(INTEGER)
    return losses(space, 20)


def test_a_network_of_large_gains_explodes_with_constant_statistics_and_not_in_integer_mode():
    growth: dict[str, list[float]] = {"constant": [], "followed": []}
    for seed in range(1, 7):
        trained = space_of(Shrinkable(seed), (64, 3, 6, 6), Options(weight_bits=(4,))).decide().train()
        trained.set_mode(FAKE)
        before = losses(trained, 100)[-1]
        shrink(trained, 0.1)
        constant, followed = in_integers(trained, constant=True), in_integers(trained, constant=False)
        assert constant[0] == followed[0] == pytest.approx(before, rel=0.1)
        growth["constant"].append(max(constant) / before)
        growth["followed"].append(max(followed) / before)
    assert median(growth["constant"]) > 5 and median(growth["constant"]) > 2 * median(growth["followed"])


def test_in_integer_mode_a_pass_in_training_is_what_the_running_statistics_give_and_moves_them():
    decided = half_closed().eval().decide().train()
    decided.set_mode(INTEGER)
    x = images((16, 3, 6, 6))
    before = {name: norm.running_mean.clone() for name, norm in decided.norms.items()}
    with decided.running(training=False), torch.no_grad():
        expected = decided(x)
    assert torch.equal(decided(x), expected)
    assert all(not torch.equal(norm.running_mean, before[name]) for name, norm in decided.norms.items())
    with decided.running(training=False), torch.no_grad():
        assert not torch.equal(decided(x), expected)  # since they moved
