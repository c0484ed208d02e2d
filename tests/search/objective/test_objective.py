"""Objectives: forces on costs, gradients handed to autograd, curvature against noise."""

import pytest
import torch

from cost_models import COST_MODELS
from search.objective.fisher import FisherInformation
from search.objective.objective import REFRESH, AugmentedLagrangian, Duccio, Objective
from search.training.shared_adam import SharedAdam
from spaces.decisions.selection import GATES, Selection
from spaces.searchable import searchable
from spaces.space import FAKE
from tests.search.small import Small

MODELS = {name: COST_MODELS[name] for name in ("flash_bytes", "peak_ram_bytes")}


@pytest.fixture
def space():
    torch.manual_seed(0)
    space = searchable(Small(), torch.randn(2, 1, 8, 8))
    space.calibrate([torch.randn(4, 1, 8, 8)])
    space.train().set_mode(FAKE)
    return space


def seed_costs(space):
    return {name: model(space.describe()).item() for name, model in MODELS.items()}


def test_target_moves_geometrically_from_the_seed_to_the_budget():
    constraint = AugmentedLagrangian(100.0, 10_000.0, ramp=0.5)
    assert constraint.target(0.0) == 10_000
    assert constraint.target(0.25) == pytest.approx(1000)
    assert constraint.target(0.5) == constraint.target(1.0) == pytest.approx(100)


def test_multiplier_climbs_while_over_target_and_falls_below_it():
    constraint = AugmentedLagrangian(100.0, 100.0, ramp=0.0)
    forces = [constraint.force(150.0, 1.0, 1.0) for _ in range(5)]
    assert forces == sorted(forces) and forces[0] > 0
    relaxed = [constraint.force(50.0, 1.0, 1.0) for _ in range(50)]
    assert relaxed[-1] == 0.0 and constraint.multiplier == 0.0


def test_duccio_fixes_its_strength_at_the_first_violation_and_ramps():
    constraint = Duccio(100.0, 1000.0, ramp=0.0)
    assert constraint.force(90.0, 2.0, 0.0) == 0.0
    first = constraint.force(300.0, 2.0, 0.0)
    assert first == pytest.approx(0.01 * 2.0 / 200)
    assert constraint.force(900.0, 7.0, 0.5) == pytest.approx(2.0 / 200)
    assert constraint.force(900.0, 7.0, 0.25) == pytest.approx(0.505 * 2.0 / 200)


def test_gradients_are_those_of_the_costs_through_the_decisions(space):
    objective = Objective(MODELS, seed_costs(space), {}, {"flash_bytes": 3.0})
    space(torch.randn(2, 1, 8, 8))
    roots, gradients = objective.gradients(space, 1.0, 0.0)
    torch.autograd.backward(roots, gradients)
    found = {name: [p.grad.clone() for p in d.parameters() if p.requires_grad] for name, d in space.decisions.items()}
    space.zero_grad()
    space(torch.randn(2, 1, 8, 8))
    (3.0 * MODELS["flash_bytes"](space.describe(space.selection)) / seed_costs(space)["flash_bytes"]).backward()
    for name, decision in space.decisions.items():
        for got, p in zip(found[name], (p for p in decision.parameters() if p.requires_grad), strict=True):
            assert torch.allclose(got, p.grad, rtol=1e-5, atol=1e-9), name
            assert got.abs().sum() > 0


def test_gradient_is_kept_between_refreshes(space):
    objective = Objective(MODELS, seed_costs(space), {}, {"flash_bytes": 1.0})
    x = torch.randn(2, 1, 8, 8)
    space(x)
    objective.gradients(space, 1.0, 0.0)
    gate = next(iter(space.gates.values()))
    gate.fix([1] + [0] * (gate.groups - 1))
    for _ in range(REFRESH - 1):
        space(x)
        objective.gradients(space, 1.0, 0.0)
    assert objective.costs == objective.seed_costs
    space(x)
    objective.gradients(space, 1.0, 0.0)
    assert objective.costs["flash_bytes"] < objective.seed_costs["flash_bytes"]


def test_curvature_protects_gates_whose_gradient_is_large_noise_around_zero(space):
    curvature = FisherInformation()
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        alpha = torch.ones(3, requires_grad=True) * 1.0
        selection = Selection(FAKE, alpha)
        given = curvature.added(selection, {GATES: torch.zeros(3)})
        noise = torch.randn(3, generator=generator) * torch.tensor([0.0, 0.1, 1.0])
        torch.autograd.backward([(alpha * noise).sum(), alpha], [None, given[GATES]])
        curvature.observe(batch=8)
    still, weak, strong = given[GATES].tolist()
    assert still == 0.0
    assert -0.5 * 8 * 0.01 * 1.6 < weak < -0.5 * 8 * 0.01 * 0.5  # - H / 2, H = batch * variance, a noisy mean
    assert strong < 50 * weak


def test_unknown_method_is_refused():
    with pytest.raises(
        ValueError, match=r"strategy.method 'penalty' is not one of \['augmented_lagrangian', 'duccio'\]"
    ):
        Objective(MODELS, {}, {}, {}, method="penalty")


def test_shared_adam_keeps_the_ratio_of_gradients():
    p = torch.zeros(3, requires_grad=True)
    optimizer = SharedAdam([{"params": [p]}], lr=0.1)
    for _ in range(20):
        p.grad = torch.tensor([1.0, 0.1, -0.5])
        optimizer.step()
    moved = p.tolist()
    assert moved[0] / moved[1] == pytest.approx(10.0, rel=1e-4)
    assert moved[2] / moved[0] == pytest.approx(-0.5, rel=1e-4)


def test_shared_adam_step_does_not_depend_on_the_gradients_scale():
    results = []
    for scale in (1e-6, 1e3):
        p = torch.zeros(2, requires_grad=True)
        optimizer = SharedAdam([{"params": [p]}], lr=0.1)
        for _ in range(5):
            p.grad = scale * torch.tensor([1.0, -2.0])
            optimizer.step()
        results.append(p.detach().clone())
    assert torch.allclose(*results, rtol=1e-4)


def test_shared_adam_lets_no_few_large_gradients_hold_up_the_others():
    few, others = torch.zeros(2, requires_grad=True), torch.zeros(3, 4, requires_grad=True)
    optimizer = SharedAdam([{"params": [few, others]}], lr=0.1)
    for _ in range(20):
        few.grad, others.grad = torch.tensor([1e4, -1e4]), torch.ones(3, 4)
        optimizer.step()
    assert others.min().item() < -1.0  # as far as 20 steps of a rate of 0.1 go, less what the few take of it
    assert few[0].item() == pytest.approx(3 * others[0, 0].item(), rel=1e-4)
    assert few[1].item() == -few[0].item()


def test_shared_adam_clips_by_what_is_usual_among_gradients_that_are_not_zero():
    dead, live = torch.zeros(9, requires_grad=True), torch.zeros(3, requires_grad=True)
    optimizer = SharedAdam([{"params": [dead, live]}], lr=0.1)
    dead.grad, live.grad = torch.zeros(9), torch.tensor([1.0, 2.0, 4.0])
    optimizer.step()
    assert torch.equal(dead, torch.zeros(9))
    assert torch.allclose(live / live[0], torch.tensor([1.0, 2.0, 4.0]))


def test_shared_adam_stands_still_where_all_gradients_are_zero():
    p = torch.ones(2, requires_grad=True)
    optimizer = SharedAdam([{"params": [p]}], lr=0.1)
    p.grad = torch.zeros(2)
    optimizer.step()
    assert torch.equal(p, torch.ones(2))
