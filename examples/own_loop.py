"""A training loop of one's own, with a budget and a choice among blocks: no run folder, no settings.

    python -m examples.own_loop

It prints the flash of the seed network and of the result, the budget, and the accuracy of the exported integers on
images that were not trained on. It needs scikit-learn.
"""

from collections.abc import Iterator
from functools import partial

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

from cost_models import cost_model
from search.budgets.feasibility import Budgets, seed_architecture
from search.budgets.repair import repair
from search.deploy.lower import lower
from search.integer.executor import Executor
from search.objective.objective import Objective
from search.training.optimizers import decision_optimizer
from spaces.one_of import OneOf
from spaces.searchable import Options, searchable
from spaces.space import Space

Batch = tuple[Tensor, Tensor]

FLASH = 1500  # bytes, the budget
TRAINED = 1400  # of 1,797 images


# --8<-- [start:network]
def network() -> nn.Module:
    def block(size: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(16, 16, size, padding=size // 2), nn.BatchNorm2d(16), nn.ReLU())

    stem = nn.Sequential(nn.Conv2d(1, 16, 3, 2), nn.BatchNorm2d(16), nn.ReLU())
    return nn.Sequential(stem, OneOf([block(3), block(1), nn.Identity()]), nn.Flatten(), nn.Linear(144, 10))


# --8<-- [end:network]


def batches(images: Tensor, labels: Tensor, epochs: int) -> Iterator[Batch]:
    for _ in range(epochs):
        order = torch.randperm(len(images))
        yield from zip(images[order].split(32), labels[order].split(32), strict=True)


# --8<-- [start:train]
def train(space: Space, data: Iterator[Batch]) -> None:
    """A plain loop: of the float network, and of a decided one."""
    optimizer = torch.optim.SGD(space.network_parameters(), lr=0.01, momentum=0.9)
    for images, labels in data:
        optimizer.zero_grad()
        F.cross_entropy(space(images), labels).backward()
        optimizer.step()


# --8<-- [end:train]


# --8<-- [start:search]
def search(space: Space, data: list[Batch], objective: Objective) -> None:
    """Decisions learn as well: the objective steers them towards the budget."""
    weights = torch.optim.SGD(space.network_parameters(), lr=0.01, momentum=0.9)
    decisions = decision_optimizer(space, lr=0.02)
    for step, (images, labels) in enumerate(data):
        weights.zero_grad()
        decisions.zero_grad()
        loss_of = partial(F.cross_entropy, target=labels)
        loss = loss_of(space(images))
        objective.watch(space)
        loss.backward()
        objective.observe(space, images, loss_of, loss.detach())
        objective.steer(space, loss.detach(), progress=step / len(data))
        weights.step()
        before = [parameter.detach().clone() for parameter in space.decision_parameters()]
        decisions.step()
        space.project()
        objective.hold_back(space, before)


# --8<-- [end:search]


def main() -> None:
    torch.manual_seed(0)
    x, y = (torch.tensor(values) for values in load_digits(return_X_y=True))
    x = x.float().view(-1, 1, 8, 8) / 16
    images, labels = x[:TRAINED], y[:TRAINED]

    # --8<-- [start:main]
    space = searchable(network(), images[:2], Options(weight_bits=(0, 2, 4, 8))).train()
    train(space, batches(images, labels, epochs=10))
    space.calibrate([images[:256]])
    space.set_mode("fake")
    budgets = Budgets(space, {"flash_bytes": cost_model("flash_bytes")}, {"flash_bytes": float(FLASH)})
    seed = budgets.costs(seed_architecture(space))
    objective = Objective(budgets.models, seed, budgets.limits, lambdas={})
    search(space, list(batches(images, labels, epochs=10)), objective)
    found = repair(budgets, space.architecture(), objective.loss_increases(space))

    small = space.decide(found)
    for mode, epochs in (("fake", 5), ("integer", 2)):
        small.set_mode(mode)
        train(small, batches(images, labels, epochs))
    program = lower(small)
    # --8<-- [end:main]
    right = Executor(program)(x[TRAINED:].numpy()).argmax(1) == y[TRAINED:].numpy()
    print(f"flash: {program.flash_bytes()} bytes of {seed['flash_bytes']:.0f}, budget {FLASH}")
    print(f"accuracy of the integers: {right.mean():.3f}")


if __name__ == "__main__":
    main()
