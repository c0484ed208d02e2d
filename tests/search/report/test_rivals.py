"""What is compared with what: fronts, means with intervals, hypervolumes, by hand."""

from dataclasses import replace

import pytest

from search.report import rivals
from search.report.rivals import Entry
from search.report.runs import read_run

LIMIT = (("flash_bytes", 1000.0),)


def entry(index: int, cost: float, selected: float, accuracy: float, **changes) -> Entry:
    made = Entry(index, "gradient", 0, LIMIT, {"flash_bytes": cost}, {"flash_bytes": 5000.0}, selected, accuracy)
    return replace(made, **changes)


def test_the_front_is_chosen_on_validation_data():
    entries = [entry(0, 100, 0.8, 0.9), entry(1, 200, 0.7, 0.99), entry(2, 300, 0.9, 0.5)]
    assert rivals.front(entries, "flash_bytes") == [0, 2]
    assert rivals.front(entries, "macs") == []


def test_interval_is_students():
    found = rivals.estimate("a", [1.0, 2.0, 3.0])
    assert found.mean == 2.0
    assert found.half == pytest.approx(4.302653 / 3**0.5)  # t of 0.975 with 2 degrees of freedom; s = 1
    assert rivals.estimate("a", [0.5]).half is None


def test_seeds_are_grouped_and_each_counts_once_by_validation_accuracy():
    entries = [
        entry(0, 100, 0.80, 0.70),
        entry(1, 100, 0.90, 0.60),  # the same seed again, better on validation data
        entry(2, 100, 0.80, 0.80, seed=1),
        entry(3, 100, 0.80, 0.10, rival="tpe"),
        entry(4, 100, 0.80, 0.20, budgets=(("flash_bytes", 2000.0),)),
    ]
    found = rivals.at_budgets(entries)
    assert {each.rival: each.values for each in found[LIMIT]} == {"gradient": (0.6, 0.8), "tpe": (0.1,)}
    assert found[("flash_bytes", 2000.0),][0].values == (0.2,)
    assert [(a.index, b.index) for a, b in rivals.repeated(entries)] == [(0, 1)]


@pytest.mark.parametrize("cost, stands", [(1000, True), (1001, False)])
def test_a_rival_without_budgets_stands_where_it_keeps_them(cost, stands):
    found = rivals.at_budgets([entry(0, 10, 0.5, 0.5), entry(1, cost, 0.9, 0.9, rival="fixed", budgets=())])
    assert ("fixed" in {each.rival for each in found[LIMIT]}) is stands


def test_hypervolume_is_measured_from_the_seed_network_with_the_points_that_validation_chose():
    entries = [entry(0, 1250, 0.8, 0.8), entry(1, 625, 0.5, 0.5), entry(2, 625, 0.4, 0.9)]  # the last: off the front
    assert rivals.seed_cost(entries, "flash_bytes") == 5000.0
    (volume,) = rivals.hypervolumes(entries, "flash_bytes")
    assert volume.mean == pytest.approx(2 * 0.8 + 1 * 0.5)  # octaves of limits: 5000 to 1250, 1250 to 625


def test_the_corner_is_that_of_the_largest_seed_network():
    entries = [entry(0, 1250, 0.8, 0.8), entry(1, 1250, 0.8, 0.8, rival="b", seed_costs={"flash_bytes": 10_000.0})]
    assert [each.mean for each in rivals.hypervolumes(entries, "flash_bytes")] == pytest.approx([3 * 0.8] * 2)


def test_a_front_that_is_better_everywhere_has_more_hypervolume():
    better = entry(0, 100, 0.9, 0.9, rival="a")
    found = rivals.hypervolumes([better, entry(1, 200, 0.8, 0.8, rival="b")], "flash_bytes")
    assert {each.rival: each.mean for each in found}["a"] > {each.rival: each.mean for each in found}["b"]


def test_no_seed_network_no_hypervolume():
    assert rivals.hypervolumes([entry(0, 1, 0.5, 0.5, seed_costs={})], "flash_bytes") == []


def test_rivals_are_named_by_what_sets_them_apart(copied):
    runs = [read_run(copied(*each)) for each in [("gradient", 0), ("gradient", 1), ("tpe", 0), ("gradient", 0, 900.0)]]
    assert rivals.labels(runs) == ["gradient", "gradient", "tpe", "gradient"]
    settings = runs[1].settings | {"space": runs[1].settings["space"] | {"weight_bits": [0, 8]}}
    runs[1] = replace(runs[1], settings=settings)
    names = rivals.labels(runs)
    assert names[:2] == ["gradient, space.weight_bits=[0, 2, 4, 8]", "gradient, space.weight_bits=[0, 8]"]
    assert names[2] == "tpe"


def test_a_run_whose_settings_cannot_be_read_costs_the_others_no_name(copied):
    runs = [read_run(copied("gradient", seed)) for seed in range(3)]
    longer = runs[1].settings | {"strategy": runs[1].settings["strategy"] | {"epochs": 400}}
    runs[1], runs[2] = replace(runs[1], settings=longer), replace(runs[2], settings={})
    first, second, third = rivals.labels(runs)
    assert first != second == "gradient, epochs=400" and third == "gradient, settings unknown"
    assert rivals.labels(runs[2:]) == ["gradient"]


def test_a_seed_without_all_budgets_of_its_rival_is_in_no_hypervolume_and_named():
    small = (("flash_bytes", 500.0),)
    whole = [entry(i, 500 * (1 + i % 2), 0.8, 0.8, seed=i // 2, budgets=(small, LIMIT)[i % 2]) for i in range(4)]
    lacking = entry(4, 1000, 0.8, 0.8, seed=2)
    (found,) = rivals.hypervolumes([*whole, lacking], "flash_bytes")
    assert len(found.values) == 2 and found.half == pytest.approx(0)
    (fault,) = rivals.incomplete([*whole, lacking])
    assert "rival 'gradient', seed 2: has no network for {'flash_bytes': 500.0}" in fault
    assert rivals.incomplete(whole) == []
