"""Changes of an architecture, and what costs say of them, by hand."""

import torch

from search.budgets.changes import Change, applied, cost_row
from spaces.architecture import Architecture


def test_changes_are_made_and_the_last_channel_of_a_gate_stays():
    start = Architecture("net", {"a/channels": (1, 1, 0), "a/bits": (8, 8)}, {})
    closings = [Change("a/channels", group, 0, 0.0, (), closes=True) for group in (0, 1)]
    found = applied(start, [*closings, Change("a/bits", 1, 2, 0.0, ())])
    assert found == start.having({"a/channels": (0, 1, 0), "a/bits": (8, 2)})


def test_the_row_of_a_cost_has_slopes_of_the_decisions_that_bear_on_it():
    leaves = {name: torch.tensor([1.0, 2.0], requires_grad=True) for name in ("a", "b")}
    row = cost_row(3 * leaves["a"][0] + leaves["a"].prod(), 5.0, leaves)
    assert row.excess == 5.0 and row.slopes.keys() == {"a"} and row.slopes["a"].tolist() == [5.0, 1.0]
    assert cost_row(torch.tensor(4.0), 1.0, leaves).slopes == {}
