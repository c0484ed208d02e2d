"""Methods of meeting budgets: targets, multipliers and what is kept of them."""

import pytest
import torch

from search.objective.constraints import METHODS, Dual, Duccio, Outlook
from spaces.decisions.selection import GATES


def outlook(cost=100.0, budget_of=lambda leaves: 10.0 * float(leaves[GATES].sum()), **changed):
    """Ten gates of ten bytes each, of which closing the first is worth least."""
    return Outlook(
        **{
            "costs": {"flash": cost},
            "slopes": {"flash": {GATES: torch.full((11,), 10.0)}},
            "leaves": {GATES: torch.ones(11)},
            "losses": {GATES: torch.arange(11.0)},
            "costs_of": lambda leaves: {"flash": budget_of({GATES: leaves[GATES][1:]})},
            "task_loss": 1.0,
            "progress": 1.0,
            **changed,
        }
    )


def test_targets_move_geometrically_from_the_start_to_the_budget():
    dual = Dual({"flash": 100.0}, {"flash": 10_000.0}, ramp=0.5)
    assert dual.target("flash", 0.0) == 10_000
    assert dual.target("flash", 0.25) == pytest.approx(1000)
    assert dual.target("flash", 0.5) == dual.target("flash", 1.0) == pytest.approx(100)
    assert Dual({"flash": 100.0}, {"flash": 50.0}, ramp=0.5).target("flash", 0.0) == 100


def test_the_multiplier_is_the_price_at_which_the_cheapest_gates_come_to_the_budget():
    dual = Dual({"flash": 70.0}, {"flash": 100.0}, ramp=0.0)
    price = dual.multipliers(outlook())["flash"]
    assert 3 / 10 < price < 4 / 10  # losses 1, 2 and 3 for 10 bytes each are worth it, 4 is not


def test_the_multiplier_does_not_grow_while_decisions_are_on_their_way():
    dual = Dual({"flash": 70.0}, {"flash": 100.0}, ramp=0.0)
    prices = [dual.multipliers(outlook())["flash"] for _ in range(20)]
    assert max(prices) == min(prices)


def test_what_is_below_the_budget_is_spent_on_what_the_loss_wants_most():
    leaves = torch.tensor([1.0] + [0.0] * 9 + [1.0])
    dual = Dual({"flash": 40.0}, {"flash": 100.0}, ramp=0.0)
    price = dual.multipliers(outlook(cost=10.0, leaves={GATES: leaves}))["flash"]
    assert 6 / 10 < price < 8 / 10  # the gates of losses 7, 8 and 9 open again, or two of them


def test_what_changes_save_together_is_made_up_for():
    """Costs are products: of two changes each saves less once the other is made."""
    dual = Dual({"flash": 64.0}, {"flash": 100.0}, ramp=0.0)

    def squared(leaves):
        return float(leaves[GATES].sum()) ** 2

    def looking():
        return outlook(budget_of=squared, slopes={"flash": {GATES: torch.full((11,), 20.0)}})

    first = dual.multipliers(looking())["flash"]
    for _ in range(10):
        last = dual.multipliers(looking())["flash"]
    assert first == pytest.approx(2 / 20, rel=2e-3)  # 36 at 20 each: two gates, though 8 squared is 64
    assert last >= first


def test_a_budget_that_is_met_by_all_that_the_loss_wants_has_no_price():
    assert Dual({"flash": 100.0}, {"flash": 100.0}, ramp=0.0).multipliers(outlook())["flash"] == 0.0


def test_duccio_fixes_its_strength_at_the_first_violation_and_ramps():
    duccio = Duccio({"flash": 100.0}, {"flash": 1000.0}, ramp=0.0)
    assert duccio.multipliers(outlook(90.0, task_loss=2.0, progress=0.0)) == {"flash": 0.0}
    first = duccio.multipliers(outlook(300.0, task_loss=2.0, progress=0.0))["flash"]
    assert first == pytest.approx(0.01 * 2.0 / 200)
    assert duccio.multipliers(outlook(900.0, task_loss=7.0, progress=0.5))["flash"] == pytest.approx(2.0 / 200)
    assert duccio.multipliers(outlook(900.0, task_loss=7.0, progress=0.25))["flash"] == pytest.approx(0.505 * 2 / 200)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_method_goes_on_from_its_state(method):
    def at(step):
        return outlook(100.0 - step, progress=0.1 * step)

    whole, killed = (METHODS[method]({"flash": 50.0}, {"flash": 100.0}, 0.5) for _ in range(2))
    for step in range(3):
        assert whole.multipliers(at(step)) == killed.multipliers(at(step))
    resumed = METHODS[method]({"flash": 50.0}, {"flash": 100.0}, 0.5)
    resumed.load(killed.state())
    for step in range(3, 6):
        assert whole.multipliers(at(step)) == resumed.multipliers(at(step))
