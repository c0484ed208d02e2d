"""Networks with alternatives, through the whole of a search."""

import json

import pytest
import torch
from torch import nn

from cost_models import COST_MODELS
from search.feasibility import at, ranges, refuse_impossible, seed_architecture, smallest
from search.repair import Sensitivity, repair
from search.run import Run
from spaces.one_of import OneOf
from spaces.searchable import Options, searchable
from tests.search.small import settings, write_stripes

MODELS = {name: COST_MODELS[name] for name in ("flash_bytes", "macs", "peak_ram_bytes")}


def block(kernel: int) -> nn.Sequential:
    conv = nn.Conv2d(8, 8, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(8), nn.ReLU())


class Branched(nn.Module):
    """stem -> one of (3x3, 5x5, nothing) -> head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.body = OneOf([block(3), block(5), nn.Identity()])
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        return self.head(self.body(self.stem(x)).mean((2, 3)))


def branched(weight_bits: tuple[int, ...]):
    torch.manual_seed(0)
    space = searchable(Branched(), torch.zeros(2, 1, 8, 8), Options(weight_bits, activation_bits=8))
    batches = [(torch.randn(8, 1, 8, 8), torch.arange(8) % 4) for _ in range(2)]
    space.calibrate([images for images, _ in batches])
    return space, batches


@pytest.mark.parametrize("cost", MODELS)
def test_seed_network_has_the_first_alternatives_and_the_floor_the_cheapest(cost):
    space, _ = branched((0, 2, 4, 8))
    seed = seed_architecture(space)
    assert seed.picks["body/branch"] == (0,)
    least = smallest(space, MODELS[cost])
    found = ranges(space, MODELS)[cost]
    assert found.seed == at(space, seed, MODELS)[cost]
    each = [at(space, least.having({"body/branch": (option,)}), MODELS)[cost] for option in range(3)]
    assert found.floor == min(each) < found.seed
    assert cost == "peak_ram_bytes" or each[2] < each[0] < each[1]


@pytest.mark.parametrize("cost", MODELS)
@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.9])
def test_every_budget_that_is_not_refused_is_met(cost, share):
    """Also where no channel and no precision can go: the 5x5 block gives way to another."""
    for weight_bits in ((0, 2, 4, 8), (8,)):
        space, batches = branched(weight_bits)
        sensitivity = Sensitivity(space, batches, nn.functional.cross_entropy)
        found = ranges(space, MODELS)[cost]
        budgets = {cost: found.floor + share * (found.seed - found.floor)}
        refuse_impossible(space, MODELS, budgets)
        start = seed_architecture(space).having({"body/branch": (1,)})
        repaired = repair(space, start, MODELS, budgets, sensitivity)
        assert at(space, repaired, MODELS)[cost] <= budgets[cost]


@pytest.mark.parametrize("budget", [600, 150])
def test_a_run_from_the_network_to_its_integers(tmp_path, budget):
    data = write_stripes(tmp_path / "d.npz")
    run = Run(settings(data, budgets={"flash_bytes": budget}), lambda _: Branched(), tmp_path / "run")
    assert run.seed_costs["flash_bytes"] > 600  # of the network with its first alternative
    summary = run()
    assert summary["budgets"]["flash_bytes"]["met"]
    assert summary["mismatches"]["numpy"] == 0
    picks = json.loads((tmp_path / "run/architecture.json").read_text())["picks"]
    assert picks["body/branch"] == [2] or budget == 600
