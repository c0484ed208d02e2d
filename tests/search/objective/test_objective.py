"""Objectives: where decisions are steered, and what is known of the loss of their options."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from cost_models import COST_MODELS
from search.objective.constraints import Dual
from search.objective.fisher import FisherInformation
from search.objective.objective import REFRESH, Objective
from search.training.optimizers import decision_optimizer
from spaces.decisions.selection import GATES, Selection
from spaces.one_of import OneOf
from spaces.searchable import Options, searchable
from spaces.space import FAKE
from tests.search.small import Small

MODELS = {name: COST_MODELS[name] for name in ("flash_bytes", "peak_ram_bytes")}
IMAGES = torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(16) % 4


def loss_of(outputs):
    return F.cross_entropy(outputs, LABELS % outputs.shape[1])


@pytest.fixture
def space():
    torch.manual_seed(0)
    space = searchable(Small(), torch.randn(2, 1, 8, 8), Options(weight_bits=(0, 2, 4, 8)))
    space.calibrate([torch.randn(4, 1, 8, 8)])
    space.train().set_mode(FAKE)
    return space


def seed_costs(space):
    return {name: model(space.describe()).item() for name, model in MODELS.items()}


def step(space, objective, progress):
    """One step of the decisions, as in search.training.step, without an optimizer."""
    space.zero_grad()
    loss = loss_of(space(IMAGES))
    objective.watch(space)
    loss.backward()
    objective.observe(space, IMAGES, loss_of, loss.item())
    objective.steer(space, loss.item(), progress)


def moved(space, objective, optimizer, progress):
    """One step of the decisions with their optimizer; returns the flash that the space then has."""
    step(space, objective, progress)
    before = [p.detach().clone() for p in space.decision_parameters()]
    optimizer.step()
    space.project()
    objective.hold_back(space, before)
    return MODELS["flash_bytes"](space.describe()).item()


def against(space):
    """All directions, one after another."""
    gates = [gate.shadow.grad for gate in space.gates.values()]
    return torch.cat([*gates, *(choice.logits.grad.flatten() for choice in space.choices.values())])


def test_without_costs_everything_moves_to_what_the_loss_wants(space):
    step(space, Objective(MODELS, seed_costs(space), {}, {}), 0.0)
    for gate in space.gates.values():
        assert (gate.shadow.grad <= 0).all() and (gate.shadow.grad < 0).any()
    for choice in space.choices.values():
        assert (choice.logits.grad[:, -1] == 0).all()  # the highest precision is the best, nothing speaks against it
        assert (choice.logits.grad >= 0).all()


def test_a_lambda_beyond_all_losses_moves_everything_to_what_is_cheapest(space):
    step(space, Objective(MODELS, seed_costs(space), {}, {"flash_bytes": 1e9}), 1.0)
    for gate in space.gates.values():
        assert (gate.shadow.grad == 1).all()
    for choice in space.choices.values():
        assert (choice.logits.grad[:, 0] == 0).all() and (choice.logits.grad[:, -1] == 1).all()


def test_directions_are_bounded_whatever_the_size_of_the_loss(space):
    found = []
    for scale in (1e-6, 1e6):
        objective = Objective(MODELS, seed_costs(space), {"flash_bytes": 1500.0}, {}, ramp=0.0)
        torch.manual_seed(0)
        space.zero_grad()
        loss = loss_of(space(IMAGES)) * scale
        objective.watch(space)
        loss.backward()
        objective.observe(space, IMAGES, lambda outputs, scale=scale: loss_of(outputs) * scale, loss.item())
        objective.steer(space, loss.item(), 1.0)
        found.append(against(space).clone())
    assert found[0].abs().max() == 1.0
    assert torch.allclose(*found, atol=2e-2)  # multipliers are found to a thousandth


def test_costs_are_evaluated_anew_every_few_steps(space):
    objective = Objective(MODELS, seed_costs(space), {}, {"flash_bytes": 1.0})
    step(space, objective, 0.0)
    gate = next(iter(space.gates.values()))
    gate.fix([1] + [0] * (gate.groups - 1))
    for _ in range(REFRESH - 1):
        step(space, objective, 0.0)
    assert objective.costs == objective.seed_costs
    step(space, objective, 0.0)
    assert objective.costs["flash_bytes"] < objective.seed_costs["flash_bytes"]


@pytest.mark.parametrize("steps", [50, 120])
@pytest.mark.parametrize("share", [0.5, 0.25, 0.12])
def test_costs_follow_the_target_and_stay_close_to_it(space, steps, share):
    """Never more than a tenth below the target, and from 50 steps on near the budget."""
    seed = seed_costs(space)["flash_bytes"]
    objective = Objective(MODELS, seed_costs(space), {"flash_bytes": share * seed}, {}, ramp=0.4)
    optimizer = decision_optimizer(space, lr=0.06 * max(1, 200 / steps))
    for number in range(steps):
        progress = number / steps
        cost = moved(space, objective, optimizer, progress)
        assert cost > 0.9 * objective.constraints.target("flash_bytes", progress), progress
    assert cost < 1.25 * share * seed


def test_a_lambda_pulls_no_faster_than_weights_can_follow(space):
    """It would be at the lowest cost within a few steps: no loss stands against it."""
    objective = Objective(MODELS, seed_costs(space), {}, {"flash_bytes": 1e9}, ramp=0.4)
    optimizer, seed = decision_optimizer(space, lr=0.24), seed_costs(space)["flash_bytes"]
    for number in range(50):
        progress = number / 50
        cost = moved(space, objective, optimizer, progress)
        target = seed * 64 ** (-progress / 0.4)
        if progress < 0.4:
            assert cost > 0.9 * target, progress
        if progress > 0.2:
            assert cost < 0.8 * seed, progress  # nor does everything wait until everything may go
    assert cost < 0.1 * seed


def test_what_went_comes_back_when_the_budget_allows(space):
    seed = seed_costs(space)["flash_bytes"]
    objective = Objective(MODELS, seed_costs(space), {"flash_bytes": 0.5 * seed}, {}, ramp=0.0)
    for decision in space.decisions.values():
        low = decision.options[0]
        decision.fix([1] + [0] * (decision.groups - 1) if low == 0 else [low] * decision.groups)
    start = MODELS["flash_bytes"](space.describe()).item()
    optimizer = decision_optimizer(space, lr=0.06)
    for _ in range(100):
        step(space, objective, 1.0)
        optimizer.step()
        space.project()
    assert start < 0.2 * seed
    assert 0.45 * seed < MODELS["flash_bytes"](space.describe()).item() < 0.55 * seed


def test_information_is_the_variance_of_the_noise_times_half_the_batch():
    fisher = FisherInformation()
    generator = torch.Generator().manual_seed(0)
    for _ in range(2000):
        alpha = torch.ones(3, requires_grad=True) * 1.0
        noise = torch.randn(3, generator=generator) * torch.tensor([0.0, 0.1, 1.0])
        fisher.watch(Selection(FAKE, alpha))
        (alpha * noise).sum().backward()
        fisher.observe(batch=8)
    still, weak, strong = fisher.loss_increases()[GATES].tolist()
    assert still == 0.0
    assert 0.5 * 8 * 0.01 * 0.5 < weak < 0.5 * 8 * 0.01 * 1.6  # H / 2, a noisy mean
    assert 50 * weak < strong < 200 * weak


def test_the_first_observation_counts_in_full():
    fisher, alpha = FisherInformation(), torch.ones(2, requires_grad=True) * 1.0
    fisher.watch(Selection(FAKE, alpha))
    (alpha * torch.tensor([1.0, 3.0])).sum().backward()
    fisher.observe(batch=4)
    assert fisher.loss_increases()[GATES].tolist() == pytest.approx([0.5 * 4 * 1, 0.5 * 4 * 9])


def test_options_of_a_choice_are_compared_with_the_highest_precision():
    fisher = FisherInformation()
    share = torch.tensor([[0.0, 1.0, 0.0]]).requires_grad_() * 1.0  # the one in the middle is in use
    fisher.watch(Selection(FAKE, learns={"bits": share}))
    (share * torch.tensor([[5.0, 2.0, 1.0]])).sum().backward()
    fisher.observe(batch=2)
    assert fisher.loss_increases()["bits"].tolist() == [pytest.approx([16.0, 1.0, 0.0])]


def test_what_lies_in_branches_that_did_not_run_is_not_observed():
    fisher = FisherInformation()
    runs, idle = (torch.tensor([[0.0, 1.0]]).requires_grad_() * 1.0 for _ in range(2))
    fisher.watch(Selection(FAKE, learns={"runs/bits": runs, "idle/bits": idle}))
    runs.sum().backward()
    fisher.observe(batch=2)
    assert fisher.loss_increases().keys() == {"runs/bits"}


def test_precisions_of_channels_that_bore_on_no_pass_yet_begin_at_rest():
    class Branches(nn.Sequential):
        def __init__(self):
            super().__init__(nn.Conv2d(1, 4, 3), OneOf([nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)]), nn.Flatten())

    space = searchable(Branches(), torch.randn(2, 1, 8, 8), Options(weight_bits=(2, 4, 8)))
    space.calibrate([IMAGES])
    space.train().set_mode(FAKE)
    space.steered = True
    step(space, Objective(MODELS, seed_costs(space), {}, {}), 0.0)
    (path,) = space.selection.paths.values()
    of_branches = [name for name in space.choices if name.startswith("1.alternatives") and name.endswith("/bits")]
    (runs, idle) = sorted(of_branches, key=lambda name: f"alternatives.{path}" not in name)
    assert space.choices[runs].logits.grad.abs().sum() > 0 and (space.choices[idle].logits.grad == 0).all()


def test_unknown_method_is_refused():
    with pytest.raises(ValueError, match=r"strategy.method 'penalty' is not one of \['dual', 'duccio'\]"):
        Objective(MODELS, {}, {}, {}, method="penalty")


def test_a_search_that_goes_on_starts_its_targets_at_the_budgets_before(space):
    seeds = seed_costs(space)
    first = Objective(MODELS, seeds, {"flash_bytes": 1000.0}, {})
    then = Objective(MODELS, seeds, {"flash_bytes": 500.0}, {}, before=first)
    assert isinstance(then.constraints, Dual)
    assert then.constraints.target("flash_bytes", 0.0) == 1000.0
    assert then.fisher is first.fisher and then.tried is first.tried
