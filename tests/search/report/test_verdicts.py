"""What a report says first, by hand."""

from dataclasses import replace

import pytest

from search.report.runs import RunPoint, read_run
from search.report.verdicts import amount, facts, promises, verdict, verdict_on_all
from search.tasks.class_words import ClassWords
from tests.search.run_folders import change_json

METRIC = ClassWords.metric
COSTS = {"flash_bytes": {"found": 24330, "unit": "B"}, "macs": {"found": 687913, "unit": "MAC"}}
POINT = RunPoint(None, {"flash_bytes": 24576.0}, COSTS, {"integer": {"val": 0.87, "test": 0.873}})
OVER = replace(POINT, budgets={"macs": 687912.0, "flash_bytes": 24330.0}, scores={"integer": {"val": 0.9, "test": 0.9}})


def test_one_network_in_a_sentence():
    found = verdict(POINT, METRIC, "")
    assert (found.value, found.of, found.met) == ("87.30%", "accuracy on test data", True)
    assert found.costs == ("24,330 of 24,576 B of flash, met",)


def test_a_budget_is_met_to_the_byte_and_broken_by_one():
    found = verdict(OVER, METRIC, "balanced over classes 33.33%")
    assert found.of == "accuracy on test data, balanced over classes 33.33%" and found.met is False
    assert found.costs == (
        "24,330 of 24,330 B of flash, met",
        "687,913 of 687,912 MAC of multiply-adds, OVER by 1 MAC",
    )
    assert {name: promise.left for name, promise in promises(OVER).items()} == {"flash_bytes": 0.0, "macs": -1.0}


def test_without_budgets_or_test_data():
    found = verdict(replace(POINT, budgets={}, scores={"integer": {"val": 0.87}}), METRIC, "")
    assert (found.value, found.of, found.met) == ("87.00%", "accuracy on validation data", None)
    assert found.costs == ("24,330 B of flash, no budget",)
    assert verdict(replace(POINT, scores={}), METRIC, "") is None


def test_several_networks_from_the_least_to_the_most():
    smaller = replace(POINT, costs={"flash_bytes": {"found": 3000, "unit": "B"}})
    found = verdict_on_all([POINT, smaller, OVER], METRIC)
    assert (found.value, found.of) == ("87.30% to 90.00%", "accuracy on test data, 3 networks")
    assert found.costs == ("3,000 to 24,330 B of flash", "1 of 3 networks OVER a budget") and found.met is False
    assert verdict_on_all([POINT, smaller], METRIC).costs[1] == "all budgets met"
    assert verdict_on_all([POINT, replace(POINT, scores={})], METRIC) is None


def test_small_figures_have_decimals():
    assert [amount(value) for value in (24576.0, 103469.58, 0.25, 12.5)] == ["24,576", "103,470", "0.25", "12.5"]


def test_what_it_was_for_on_what_and_when(copied):
    folders = [copied("gradient", 0), copied("tpe", 1)]
    data = {"name": "stripes", "train": 12000, "val": 20, "test": 20}
    for day, folder in enumerate(folders, start=1):
        change_json(folder / "summary.json", {"data": data, "date": f"2026-01-0{day}T12:34:56+00:00"})
    assert facts([read_run(folders[0])]) == {
        "Run": "small",
        "Target": "bench",
        "Data": "stripes: 12,000 for training, 20 for validation, 20 for test",
        "Strategy": "gradient",
        "Seed": "0",
        "Ended": "2026-01-01 12:34 UTC",
    }
    both = facts([read_run(folder) for folder in folders])
    assert both["Ended"] == "from 2026-01-01 12:34 UTC to 2026-01-02 12:34 UTC" and both["Runs"] == "2"
    assert both["Strategy"] == "gradient, tpe" and both["Target"] == "bench"


@pytest.mark.parametrize("change", [{"data": {"name": "d", "train": "many"}}, {"date": "yesterday"}])
def test_what_is_damaged_is_left_out(copied, change):
    folder = copied("gradient", 0)
    change_json(folder / "summary.json", change)
    run = read_run(folder)
    assert len(run.faults) == 1 and facts([run])["Strategy"] == "gradient"
