"""What a run has spent, and what its limit of seconds leaves to each phase."""

import time

import pytest

from search.training.ledger import Ledger
from search.training.time_budget import TimeBudget

PLAN = {"warmup": 10.0, "search": 30.0, "finetune": 20.0}


def test_spending_adds_up_by_the_name_of_a_phase():
    ledger = Ledger(PLAN)
    ledger.spend("finetune", 3, 1.5)
    ledger.spend("finetune", 2.5, 0.5)
    ledger.spend("search", 1, 4.0)
    assert ledger.epochs == {"finetune": 5.5, "search": 1}
    assert ledger.seconds == {"finetune": 2.0, "search": 4.0}


def test_a_phase_is_counted_behind_those_before_it():
    ledger = Ledger(PLAN)
    assert ledger.fraction("warmup", 0.5) == pytest.approx(5 / 60)
    assert ledger.fraction("search", 0.5) == pytest.approx(25 / 60)
    assert ledger.fraction("finetune", 1.0) == pytest.approx(1.0)
    assert Ledger().fraction("candidate", 0.5) == 0.0


def test_what_is_left_is_shared_out_by_work_among_the_phases_ahead(monkeypatch):
    ledger = Ledger(PLAN, limit=100.0, began=50.0)
    monkeypatch.setattr(time, "perf_counter", lambda: 60.0)
    assert ledger.allotted("warmup") == pytest.approx(90.0 * 10 / 60)
    ledger.restore(30.0)
    assert ledger.elapsed() == 40.0 and ledger.left() == 60.0
    assert ledger.allotted("search") == pytest.approx(60.0 * 30 / 50)
    ledger.restore(100.0)
    assert ledger.allotted("finetune") == 0.0
    assert ledger.allotted("candidate") is None and Ledger(PLAN).allotted("search") is None


def test_seconds_that_other_processes_took_are_none_of_this_one(monkeypatch):
    ledger = Ledger(PLAN, began=0.0)
    monkeypatch.setattr(time, "perf_counter", lambda: 10.0)
    ledger.restore(7.0)
    ledger.spend("warmup", 1, 7.0)
    ledger.spend("search", 1, 4.0)
    assert ledger.elsewhere() == pytest.approx(6.0)


def test_seconds_move_a_phase_on_where_they_run_out_before_its_epochs():
    assert TimeBudget(10, None).place(3.5, 1e9) == 3.5
    budget = TimeBudget(10, 20.0)
    assert budget.place(3.0, 4.0) == 3.0
    assert budget.place(3.0, 12.0) == pytest.approx(6.0)
    assert budget.place(3.0, 500.0) == 10.0
    assert TimeBudget(10, 0.0).place(0.0, 1e-3) == 10.0


def test_a_part_has_the_seconds_that_nothing_in_it_counts(monkeypatch):
    now = iter([0.0, 10.0, 12.0, 15.0, 20.0, 21.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(now))
    ledger = Ledger(PLAN, began=0.0)
    with ledger.part("decide"):  # 0 to 15
        ledger.restore(100.0)  # of another process
        ledger.spend("search", 1, 104.0)  # of them 4 here
        with ledger.part("verify"):  # 10 to 12
            pass
    assert ledger.seconds == {"search": 104.0, "verify": 2.0, "decide": 15.0 - 4.0 - 2.0}
    assert ledger.elsewhere() == 20.0 - 15.0


def test_a_part_that_fails_counts_too_and_one_that_comes_again_adds_up(monkeypatch):
    now = iter([0.0, 1.0, 5.0, 7.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(now))
    ledger = Ledger(began=0.0)
    with pytest.raises(OSError), ledger.part("export"):
        raise OSError
    with ledger.part("export"):
        pass
    assert ledger.seconds == {"export": 3.0} and ledger.epochs == {}
