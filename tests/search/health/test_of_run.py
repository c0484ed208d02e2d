"""Figures are gathered from a result, the history and the task, each from its place."""

import pytest
import torch

from search.files.results import Result
from search.health.of_run import Watched
from search.monitor.events import EpochEnd
from search.settings.run import TrainSettings
from search.tasks.classification import Classification
from spaces.architecture import Architecture

LABELS = torch.tensor([0, 0, 0, 1, 2])
VALUES = {
    "float": {"val": 0.9, "test": 0.8},
    "decided": {"val": 0.7, "test": 0.6},
    "integer": {"val": 0.6, "test": 1.0},
}
METRICS = {"accuracy/val": 0.6, "accuracy/val/searched": 0.85, "accuracy/val/decided": 0.5}


def end(phase: str, epoch: int, value: float, **costs: float) -> EpochEnd:
    scalars = {"loss/train": 1.0, "accuracy/val": value} | {f"cost/{name}": cost for name, cost in costs.items()}
    return EpochEnd(phase, epoch, 2, epoch, scalars, bits={}, gates={})


ENDS = [
    *(end("warmup", 0, 0.3), end("warmup", 1, 0.9)),
    *(end("search", 0, 0.8, flash_bytes=90.0), end("search", 1, 0.85, flash_bytes=55.0)),
    *(end("finetune", 0, 0.65), end("search 2", 0, 0.7, flash_bytes=20.0), end("finetune 2", 0, 0.4)),
]


@pytest.fixture
def watched():
    return Watched(
        task=Classification(["cat", "dog", "owl"]),
        targets=LABELS,
        train=TrainSettings(),
        seed_costs={"flash_bytes": 100.0},
        steps=30,
        ends=ENDS,
    )


@pytest.fixture
def result():
    return Result(
        strategy="gradient",
        seed=0,
        architecture=Architecture("net", {"a/bits": (2,)}),
        metrics=METRICS,
        costs={"flash_bytes": 49.0},
        units={"flash_bytes": "B"},
        budgets={"flash_bytes": 50.0},
        met=True,
        seconds=1.0,
    )


def test_stages_are_of_validation_data_and_stand_in_the_order_of_the_run(watched, result):
    figures = watched.figures(result, VALUES, "search", "finetune")
    assert list(figures.stages.items()) == [
        *(("float", 0.9), ("searched", 0.85), ("decided", 0.5), ("quantized", 0.7), ("integer", 0.6))
    ]


def test_epochs_and_costs_are_those_of_the_phases_that_are_named(watched, result):
    first, second = (watched.figures(result, VALUES, f"search{n}", f"finetune{n}") for n in ("", " 2"))
    assert first.warmup == second.warmup == (0.3, 0.9)
    assert (first.finetuning, second.finetuning) == ((0.65,), (0.4,))
    assert (first.search_costs, second.search_costs) == ({"flash_bytes": 55.0}, {"flash_bytes": 20.0})
    assert (first.search_epochs, first.search_key) == (2, "strategy.epochs")
    assert (first.search_steps, second.search_steps) == (60, 30)
    assert (second.search_epochs, second.search_key) == (1, "strategy.next_epochs")
    assert first.used() == {"flash_bytes": 0.98}


def test_chance_is_that_of_the_most_frequent_class(watched, result):
    figures = watched.figures(result, VALUES, "search", "finetune")
    assert figures.chance == 0.6 and figures.images == 5 and figures.against_one_answer == ""
    assert figures.at_chance(figures.integers, 0.0) and not figures.at_chance(0.61, 0.0)


def test_a_strategy_without_a_search_has_no_figures_of_one(watched, result):
    figures = watched.figures(result, VALUES, "search 7", "finetune")
    assert figures.search_costs == {} and figures.search_epochs == figures.search_steps == 0
