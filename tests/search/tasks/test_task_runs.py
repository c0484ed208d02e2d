"""Every task is searched, decided, exported and worded; the integers are what was measured."""

import json

import numpy as np
import pytest
import torch

from search.api import compress
from search.errors import UsageError
from search.integer.executor import Executor
from search.integer.program import Program
from tests.search.tasks import made

SHORT = [
    *("train.warmup.epochs=6", "strategy.epochs=4", "train.finetune.epochs=3", "train.finetune.integer_epochs=1"),
    *(
        "train.batch_size=16",
        "train.warmup.lr=0.03",
        "tensorboard=false",
        "quiet=true",
        "train.distillation.weight=0.3",
    ),
]
CASES = {
    "regression": (made.numbers, made.Head, "r2", 0.3),
    "tagging": (made.tags, made.Head, "map", 0.6),
    "segmentation": (made.masks, made.Maps, "miou", 0.6),
    "anomaly": (made.anomalies, made.Again, "auc", 0.8),
    "custom": (made.numbers, made.TwoHeads, "score", 0.5),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    found = {}

    def run(task):
        if task not in found:
            data, network, _, _ = CASES[task]
            own = ["task.kind=tests.search.tasks.made.Both"] if task == "custom" else []
            folder = tmp_path_factory.mktemp("runs") / task
            torch.manual_seed(0)
            budgets = {"flash_bytes": 4000.0 if task in ("regression", "tagging", "custom") else 900.0}
            found[task] = folder, compress(network(), data(), budgets, folder, [*SHORT, f"task={task}", *own])
        return found[task]

    return run


@pytest.mark.parametrize("task", CASES)
def test_is_learned_within_the_budget_and_to_the_bit(runs, task):
    _, _, metric, least = CASES[task]
    _, summary = runs(task)
    assert summary["mismatches"]["numpy"] == summary["mismatches"].get("c", 0) == 0
    assert all(each["met"] for each in summary["budgets"].values())
    assert summary[metric]["integer"]["test"] > least
    assert (runs(task)[0] / "report.html").is_file()


def test_numbers_come_in_their_own_unit(runs):
    folder, summary = runs("regression")
    data, program = made.numbers(), Program.load(folder / "program.safetensors")
    found = Executor(program).predict(data.test.images.numpy())
    errors = np.abs(found - data.test.targets.numpy()).mean(0)
    assert errors == pytest.approx(summary["numbers"]["test"]["mae"], rel=1e-6)
    assert 260 < found[:, 0].mean() < 340


def test_masks_are_predicted_at_each_place(runs):
    folder, summary = runs("segmentation")
    data = made.masks()
    found = Executor(Program.load(folder / "program.safetensors")).predict(data.test.images.numpy())
    counted = data.test.targets.numpy() != 255
    right = (found == data.test.targets.numpy())[counted].mean()
    assert found.shape == (len(data.test), 8, 8) and right == pytest.approx(summary["masks"]["test"]["accuracy"])


def test_what_a_task_says_is_shown(runs):
    texts = {task: (runs(task)[0] / "run.log").read_text(encoding="utf-8") for task in CASES}
    assert "mean absolute error" in texts["regression"] and "level" in texts["regression"]
    assert "mean F1" in texts["tagging"] and "row" in texts["tagging"]
    assert "places that are right" in texts["segmentation"]
    assert "anomalies found at 5% of false alarms" in texts["anomaly"]
    assert "score, integer" in texts["custom"]


@pytest.mark.parametrize("task", [task for task in CASES if task != "custom"])
def test_data_of_another_kind_are_refused(task, tmp_path):
    other = made.masks if task != "segmentation" else made.tags
    with pytest.raises(UsageError, match=rf"task '{task}' learns .*; arrays has .*Choose task="):
        compress(made.Head(), other(), {"flash_bytes": 900.0}, tmp_path / "run", [*SHORT, f"task={task}"])


@pytest.mark.parametrize("task", ["regression", "tagging", "segmentation", "anomaly"])
def test_a_network_with_another_output_is_refused(task, tmp_path):
    data, wrong = CASES[task][0](), made.Head(5) if task != "anomaly" else made.Maps(3)
    wrong = made.Again().append(made.nn.Conv1d(1, 2, 1)) if task == "anomaly" else wrong
    with pytest.raises(UsageError, match=r"model: its output has shape .* is needed\. Change the last layer"):
        compress(wrong, data, {"flash_bytes": 900.0}, tmp_path / "run", [*SHORT, f"task={task}"])


def test_a_custom_task_has_to_derive_from_the_base(tmp_path):
    for kind, said in (
        ("tests.search.tasks.made.Head", "derives from"),
        ("os.system", "derives from"),
        ("x", "derives from"),
    ):
        with pytest.raises(UsageError, match=rf"task\.kind '{kind}': allowed is a class that {said}"):
            compress(
                made.TwoHeads(),
                made.numbers(),
                {"flash_bytes": 900.0},
                tmp_path / "run",
                [*SHORT, "task=custom", f"task.kind={kind}"],
            )


def test_the_summary_is_plain_json(runs):
    for task in CASES:
        folder, summary = runs(task)
        assert json.loads((folder / "summary.json").read_text()) == summary


def test_one_logit_tells_two_classes_apart(tmp_path):
    """From the loss to the program's own prediction."""
    torch.manual_seed(0)
    data = made.bright()
    summary = compress(made.Head(1), data, {"flash_bytes": 1000.0}, tmp_path / "run", SHORT)
    found = Executor(Program.load(tmp_path / "run" / "program.safetensors")).predict(data.test.images.numpy())
    right = float((found == data.test.targets.numpy()).mean())
    assert right == summary["accuracy"]["integer"]["test"] > 0.8 and set(found.tolist()) == {0, 1}
