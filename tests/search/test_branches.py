"""Networks with alternatives, through the whole of a search."""

import itertools
import json

import pytest
import torch
from torch import nn

from cost_models import COST_MODELS, cost_model
from search.budgets.feasibility import Budgets, costs_at, ranges, refuse_impossible, seed_architecture, smallest
from search.budgets.repair import repair
from search.config import composed
from search.strategies.sensitivity.increases import estimated_table
from spaces.one_of import OneOf
from spaces.searchable import Options, searchable
from tests.search.small import cross_entropy, prepared_and_run, settings, write_stripes

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
    assert found.seed == costs_at(space, seed, MODELS)[cost]
    each = [costs_at(space, least.having({"body/branch": (option,)}), MODELS)[cost] for option in range(3)]
    assert found.floor == min(each) < found.seed
    assert cost == "peak_ram_bytes" or each[2] < each[0] < each[1]


@pytest.mark.parametrize("cost", MODELS)
@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.9])
def test_every_budget_that_is_not_refused_is_met(cost, share):
    """Also where no channel and no precision can go: the 5x5 block gives way to another."""
    for weight_bits in ((0, 2, 4, 8), (8,)):
        space, batches = branched(weight_bits)
        increases = estimated_table(space, batches, cross_entropy, facts={}).loss_increases
        found = ranges(space, MODELS)[cost]
        budgets = Budgets(space, MODELS, {cost: found.floor + share * (found.seed - found.floor)})
        refuse_impossible(budgets)
        start = seed_architecture(space).having({"body/branch": (1,)})
        repaired = repair(budgets, start, increases)
        assert costs_at(space, repaired, MODELS)[cost] <= budgets.limits[cost]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_of_the_branches_that_would_do_the_one_of_least_loss_increase_is_taken(order):
    """From 5x5, whatever the places of the others: to 3x3, for nothing at all has a larger loss increase."""
    torch.manual_seed(0)
    model, kinds = Branched(), ("3x3", "5x5", "nothing")
    model.body = OneOf([list(model.body.alternatives)[i] for i in order])
    space = searchable(model, torch.zeros(2, 1, 8, 8), Options((0, 2, 8)))
    images = torch.randn(8, 1, 8, 8)
    space.calibrate([images])
    place = {kind: order.index(i) for i, kind in enumerate(kinds)}
    start = seed_architecture(space).having({"body/branch": (place["5x5"],)})
    space.fix(start)
    increases = estimated_table(space, [(images, torch.arange(8) % 4)], cross_entropy, facts={}).loss_increases
    for name, each in increases.items():
        each.copy_(torch.zeros(3) if name == "body/branch" else torch.arange(each.shape[-1], 0, -1.0))
    increases["body/branch"][0, place["nothing"]] = 1000.0
    limit = costs_at(space, start.having({"body/branch": (place["3x3"],)}), MODELS)["flash_bytes"]
    repaired = repair(Budgets(space, MODELS, {"flash_bytes": limit}), start, increases)
    assert repaired.picks["body/branch"] == (place["3x3"],)


@pytest.mark.parametrize("name", ["cortex_m4", "cortex_m4_size"])
def test_the_floor_of_cycles_mixes_options_of_different_places(name):
    """The smallest kernel is the fastest there, and the lowest bits are not. Each width has calls of its own."""
    target = composed([f"target={name}"]).target
    model = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 4))
    space = searchable(model, torch.zeros(2, 1, 8, 8), Options((0, 2, 4, 8), "tensor", kernel_sizes=(1, 3)))
    latency = cost_model("latency_cycles", target)
    floor = ranges(space, {"latency_cycles": latency})["latency_cycles"].floor
    options = {name: choice.options for name, choice in space.choices.items()}
    closed = {g.name: (1,) + (0,) * (g.groups - 1) for g in space.gates.values()}
    each = []
    for picks in itertools.product(*options.values()):
        candidate = seed_architecture(space).having(closed | {n: (p,) for n, p in zip(options, picks, strict=True)})
        each.append(costs_at(space, candidate, {"latency_cycles": latency})["latency_cycles"])
    assert floor == min(each)


@pytest.mark.parametrize("budget", [600, 150])
def test_a_run_from_the_network_to_its_integers(tmp_path, budget):
    data = write_stripes(tmp_path / "d.npz")
    config = settings(data, budgets={"flash_bytes": budget})
    made, summary = prepared_and_run(tmp_path / "run", config, Branched)
    assert made.seed_costs["flash_bytes"] > 600  # of the network with its first alternative
    assert summary["budgets"]["flash_bytes"]["met"]
    assert summary["mismatches"]["numpy"] == 0
    picks = json.loads((tmp_path / "run/architecture.json").read_text())["picks"]
    assert picks["body/branch"] in ([1], [2]) or budget == 600  # the first alone takes more
