"""What only looks at a space leaves it as it was: decisions, numbers, mode, and whether it is in training."""

from dataclasses import replace

import pytest
import torch

from cost_models import COST_MODELS
from search.budgets.feasibility import (
    BudgetError,
    Budgets,
    costs_at,
    ranges,
    refuse_impossible,
    seed_architecture,
    smallest,
)
from search.budgets.fill import filled
from search.budgets.layer_costs import bit_counts, rows
from search.budgets.repair import repair
from search.budgets.widen import widened
from search.settings.strategies import BlackBoxSettings
from search.strategies.black_box.encoding import importance
from search.strategies.black_box.proxy import Proxy
from search.strategies.sensitivity.increases import estimated_table, measured_table
from spaces.searchable import Options, searchable
from spaces.space import FAKE, FLOAT
from tests.search.small import cross_entropy, problem_of, settings, write_stripes
from tests.search.test_branches import Branched

FLASH = {"flash_bytes": COST_MODELS["flash_bytes"]}
OPEN = Options((0, 2, 8), activation_bits=(4, 8), kernel_sizes=(1,), hysteresis=0.1)


@pytest.fixture
def space():
    torch.manual_seed(0)
    made = searchable(Branched(), torch.zeros(2, 1, 8, 8), OPEN)
    made.calibrate([torch.randn(16, 1, 8, 8)])
    return moved(made)


def moved(space):
    """Decisions off their places, as in the middle of a search."""
    torch.manual_seed(1)
    for decision in space.decisions.values():
        for parameter in decision.parameters():
            parameter.data += 0.3 * torch.rand_like(parameter)
    return space


def state(space):
    numbers = {name: value.clone() for name, value in space.state_dict().items()}
    flags = {name: module.training for name, module in space.named_modules()}
    temperatures = [choice.temperature for choice in space.choices.values()]
    momenta = [(norm.momentum, norm.frozen) for norm in space.norms.values()]
    return numbers, (space.mode, space.draws, flags, temperatures, momenta)


def same(before, after):
    numbers = all(torch.equal(value, after[0][name]) for name, value in before[0].items())
    return numbers and before[0].keys() == after[0].keys() and before[1] == after[1]


def batches():
    return [(torch.randn(4, 1, 8, 8), torch.arange(4)) for _ in range(2)]


def repaired(space):
    increases = estimated_table(space, batches(), cross_entropy, facts={}).loss_increases
    span = ranges(space, FLASH)["flash_bytes"]
    limit = span.floor + 0.3 * (span.seed - span.floor)
    found = repair(Budgets(space, FLASH, {"flash_bytes": limit}), seed_architecture(space), increases)
    assert costs_at(space, found, FLASH)["flash_bytes"] <= limit


def refused(space):
    budgets = Budgets(space, FLASH, {"flash_bytes": 1.0})
    increases = estimated_table(space, batches(), cross_entropy, facts={}).loss_increases
    with pytest.raises(BudgetError):
        repair(budgets, seed_architecture(space), increases)
    with pytest.raises(BudgetError):
        refuse_impossible(budgets)


def too_slow(space):
    with pytest.raises(ValueError, match=r"limits\.seconds"):
        measured_table(space, batches(), cross_entropy, allowed=0.0, facts={})


def widen(space):
    least = smallest(space, FLASH["flash_bytes"])
    grown = widened(Budgets(space, FLASH, {"flash_bytes": 5000.0}), least, importance(space))
    assert grown != least


def fill(space):
    least = smallest(space, FLASH["flash_bytes"])
    increases = estimated_table(space, batches(), cross_entropy, facts={}).loss_increases
    assert filled(Budgets(space, FLASH, {"flash_bytes": 5000.0}), least, increases).architecture != least


LOOKS = {
    "repair": repaired,
    "refusals": refused,
    "a table that takes too long": too_slow,
    "a table": lambda space: measured_table(space, batches(), cross_entropy, facts={}),
    "widened": widen,
    "filled": fill,
    "costs": lambda space: costs_at(space, seed_architecture(space), FLASH),
    "bits": bit_counts,
    "rows": lambda space: rows(space, space.decide()),
}


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("training, mode", [(True, FAKE), (False, FLOAT)])
def test_a_space_is_left_as_it_was(space, look, training, mode):
    space.train(training)
    space.set_mode(mode)
    before = state(space)
    LOOKS[look](space)
    assert same(before, state(space))


@pytest.fixture(scope="module")
def problem(tmp_path_factory):
    data = write_stripes(tmp_path_factory.mktemp("data") / "stripes.npz", count=160)
    chosen = settings(data, budgets={"flash_bytes": 60_000})
    return problem_of(tmp_path_factory.mktemp("run"), chosen)


@pytest.mark.parametrize("evaluation", ["inherited", "tuned", "scratch", None])
def test_architectures_are_measured_without_a_trace_in_the_space(problem, evaluation):
    space = moved(problem.space).train()
    before = state(space)
    architecture = smallest(space, FLASH["flash_bytes"])
    if evaluation is None:
        assert problem.evaluate(architecture).architecture == architecture
        with pytest.raises(BudgetError, match="over budget by"):
            problem.at(replace(problem.point, budgets={"flash_bytes": 1})).evaluate(seed_architecture(space))
    else:
        assert 0 <= Proxy(problem, BlackBoxSettings("random", evaluation=evaluation)).score_of(architecture) <= 1
    assert same(before, state(space))
