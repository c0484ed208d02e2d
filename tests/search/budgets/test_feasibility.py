"""The exact check, and what nothing can meet: it is refused with the range and each layer's floor, branches and all."""

import pytest
import torch
from torch import nn

from cost_models import COST_MODELS, cost_model
from search.budgets.feasibility import BudgetError, Budgets, costs_at, ranges, refuse_impossible, seed_architecture
from search.budgets.layer_costs import cost_by_layer
from search.config import composed
from spaces.one_of import OneOf
from spaces.searchable import searchable

TARGET = composed(["target=mpic"]).target
COSTS = (*COST_MODELS, "latency_cycles")


def space_with_a_choice_of_blocks():
    wide = nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 1), nn.ReLU())
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), OneOf([wide, nn.Conv2d(4, 4, 3, padding=1), nn.Identity()]),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3),
    )  # fmt: skip
    return searchable(model, torch.randn(2, 1, 8, 8))


def test_the_check_says_which_budgets_are_exceeded_and_by_how_much():
    space, models = space_with_a_choice_of_blocks(), {name: cost_model(name) for name in ("flash_bytes", "macs")}
    seed = seed_architecture(space)
    costs = costs_at(space, seed, models)
    limits = {"flash_bytes": costs["flash_bytes"] - 6, "macs": costs["macs"]}
    budgets = Budgets(space, models, limits)
    assert budgets.costs(seed) == costs
    excess = budgets.excess(seed)
    assert excess == {"flash_bytes": 6} and not budgets.met_by(seed)
    assert budgets.violation(excess) == 6 / limits["flash_bytes"]
    assert Budgets(space, models, costs).met_by(seed)


@pytest.mark.parametrize("name", COSTS)
def test_an_impossible_budget_is_refused_with_floors_where_blocks_are_a_choice(name):
    space, models = space_with_a_choice_of_blocks(), {name: cost_model(name, TARGET)}
    floor = ranges(space, models)[name].floor
    refuse_impossible(Budgets(space, models, {name: floor}))
    with pytest.raises(
        BudgetError, match=rf"budgets\.{name}.*cannot be met.*feasible are(.|\n)*Floor of each layer"
    ) as error:
        refuse_impossible(Budgets(space, models, {name: 0.9 * floor}))
    assert "5:" in str(error.value)  # the classifier


@pytest.mark.parametrize("name", sorted(set(COSTS) - {"peak_ram_bytes"}))
def test_layers_costs_add_up_where_blocks_are_a_choice(name):
    model, network = cost_model(name, TARGET), space_with_a_choice_of_blocks().eval().describe()
    with torch.no_grad():
        total = sum(value for _, value in cost_by_layer(model, network))
    if name != "energy_pj":  # a tensor is read by several layers and counted once for each
        assert total == pytest.approx(model(network).item())
    assert total > 0
