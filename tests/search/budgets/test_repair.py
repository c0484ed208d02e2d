"""Projection onto budgets: what comes out meets them exactly, and the least important went."""

import pytest
import torch

from cost_models import COST_MODELS
from search.budgets.feasibility import Budgets, costs_at, ranges, refuse_impossible, seed_architecture
from search.budgets.repair import repair
from search.strategies.sensitivity.increases import estimated_table
from spaces.networks import ResNet8
from spaces.searchable import searchable
from tests.search.small import Small, cross_entropy

MODELS = COST_MODELS


def prepared(model, shape):
    torch.manual_seed(0)
    x = torch.randn(8, *shape)
    space = searchable(model, x)
    space.calibrate([x])
    batches = [(torch.randn(8, *shape), torch.randint(0, 4, (8,))) for _ in range(3)]
    return space, estimated_table(space, batches, cross_entropy, facts={}).loss_increases


@pytest.mark.parametrize("share", [0.9, 0.5, 0.2, 0.05])
@pytest.mark.parametrize("cost", ["flash_bytes", "macs", "peak_ram_bytes", "energy_pj"])
def test_repaired_architecture_meets_the_budget_exactly(cost, share):
    space, increases = prepared(Small(channels=12), (1, 8, 8))
    span = ranges(space, MODELS)[cost]
    budgets = Budgets(space, MODELS, {cost: span.floor + share * (span.seed - span.floor)})
    found = repair(budgets, seed_architecture(space), increases)
    assert budgets.met_by(found) and budgets.costs(found)[cost] <= budgets.limits[cost]
    assert found != seed_architecture(space)


def test_several_budgets_at_once_on_a_residual_network():
    space, increases = prepared(ResNet8(1, 4, 8), (1, 8, 8))
    seed = costs_at(space, seed_architecture(space), MODELS)
    limits = {"flash_bytes": 0.15 * seed["flash_bytes"], "peak_ram_bytes": 0.6 * seed["peak_ram_bytes"]}
    budgets = Budgets(space, MODELS, limits)
    found = repair(budgets, seed_architecture(space), increases)
    costs = budgets.costs(found)
    assert all(costs[name] <= limit for name, limit in limits.items())
    assert costs["flash_bytes"] > 0.5 * limits["flash_bytes"]  # no more was taken than asked for, roughly


def test_an_architecture_within_budget_is_left_as_it_is():
    space, increases = prepared(Small(), (1, 8, 8))
    start = seed_architecture(space)
    assert repair(Budgets(space, MODELS, {"flash_bytes": 1e9}), start, increases) is start


def test_dead_channels_go_first():
    torch.manual_seed(0)
    model = Small(channels=8)
    with torch.no_grad():
        model.norm1.weight[:4] = 1e-6
        model.norm1.bias[:4] = 0.0
    space, increases = prepared(model, (1, 8, 8))
    seed = seed_architecture(space)
    closed = seed.having({"conv1/channels": (0, 0, 0, 0, 1, 1, 1, 1)})
    limits = {"peak_ram_bytes": costs_at(space, closed, MODELS)["peak_ram_bytes"]}
    found = repair(Budgets(space, MODELS, limits), seed, increases)
    assert found.picks["conv1/channels"][:4] == (0, 0, 0, 0)


def test_feasible_range_runs_from_the_floor_to_the_seed_and_costs_leave_decisions_alone():
    space, _ = prepared(Small(), (1, 8, 8))
    before = space.architecture()
    found = ranges(space, MODELS)
    assert space.architecture() == before
    assert all(0 < r.floor < r.seed for r in found.values())
    refuse_impossible(Budgets(space, MODELS, {"flash_bytes": found["flash_bytes"].floor}))


@pytest.mark.parametrize("unit", [1e-12, 1e-8, 1e6])
def test_the_unit_of_the_loss_does_not_matter(unit):
    space, increases = prepared(ResNet8(1, 4, 8), (1, 8, 8))
    seed = seed_architecture(space)
    limits = {"flash_bytes": 0.3 * costs_at(space, seed, MODELS)["flash_bytes"]}
    budgets = Budgets(space, MODELS, limits)
    in_units = {name: unit * each.double() for name, each in increases.items()}
    assert repair(budgets, seed, in_units) == repair(budgets, seed, increases)


def test_of_changes_that_add_nothing_to_the_loss_no_more_are_made_than_needed():
    space, increases = prepared(Small(channels=8), (1, 8, 8))
    seed = seed_architecture(space)
    limits = {"flash_bytes": costs_at(space, seed, MODELS)["flash_bytes"] - 1}
    nothing = {name: torch.zeros_like(each) for name, each in increases.items()}
    found = repair(Budgets(space, MODELS, limits), seed, nothing)
    changed = [
        name for name, pick in found.picks.items() for a, b in zip(pick, seed.picks[name], strict=True) if a != b
    ]
    assert len(changed) == 1
