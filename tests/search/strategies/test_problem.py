"""What a problem does for every strategy: it spends what an architecture leaves of the budgets, and says so."""

from dataclasses import replace

import pytest
import torch

from search.budgets.feasibility import seed_architecture
from tests.search.small import problem_of, settings

LIMITS = (1200.0, 900.0, 600.0)  # the whole network takes 1,487 B


@pytest.fixture
def problem(data, tmp_path):
    return problem_of(tmp_path, settings(data, budgets={"flash_bytes": LIMITS[0]}))


@pytest.fixture
def notes(problem, monkeypatch):
    told = []
    monkeypatch.setattr(problem.runtime.monitor, "note", told.append)
    return told


def at_two_bits(space):
    return seed_architecture(space).having({name: (2,) * choice.groups for name, choice in space.choices.items()})


def increases_of(space):
    """Bits help, the more the more there are."""
    return {n: torch.tensor([[3.0, 1.0, 0.0]]).repeat(c.groups, 1) for n, c in space.choices.items()}


def test_each_point_is_filled_to_its_own_budget_and_a_note_says_how_far(problem, notes):
    start, seen = at_two_bits(problem.space), []
    for limit in LIMITS:
        at_point = problem.at(replace(problem.point, budgets={"flash_bytes": limit}))
        found = at_point.filled(start, increases_of(problem.space))
        used = at_point.budgets.costs(found)["flash_bytes"]
        assert 0.95 * limit < used <= limit
        assert notes.pop().startswith(f"budgets in use: flash_bytes {used:,.0f} of {limit:,.0f} B")
        seen.append(found)
    assert len({found.hash for found in seen}) == len(LIMITS)


def test_lambdas_weigh_against_what_would_be_filled(problem, notes):
    start = at_two_bits(problem.space)
    heavy = problem.at(replace(problem.point, lambdas={"flash_bytes": 1e6}))
    assert heavy.filled(start, increases_of(problem.space)) == start
    assert notes[0].endswith("no change that is left lowers the loss")


def test_without_budgets_there_is_no_note(problem, notes):
    start = at_two_bits(problem.space)
    assert problem.at(replace(problem.point, budgets={})).filled(start, {}) is start
    assert notes == []
