"""A whole run on classes of very different sizes: the note, the weights, and the figures that the summary holds."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from search.data import from_arrays
from search.integer.executor import Executor
from search.integer.program import Program
from search.settings.tasks import ClassificationSettings
from search.tasks.class_scores import figures_of
from tests.search.small import run, settings

COUNTS = (200, 40, 40, 20)


@pytest.fixture(scope="module")
def data():
    generator = np.random.default_rng(0)
    patterns = generator.normal(size=(4, 1, 8, 8))
    labels = np.repeat(np.arange(4), COUNTS)
    images = patterns[labels] + 2 * generator.normal(size=(len(labels), 1, 8, 8))
    arrays = {f"x_{split}": images.astype(np.float32) for split in ("train", "val", "test")}
    return from_arrays(arrays | {f"y_{split}": labels for split in ("train", "val", "test")})


def imbalanced(data, strategy="gradient", **changes):
    return replace(settings(Path(), strategy, **changes), data=data)


def test_the_summary_counts_every_test_image_as_the_program_answers_it(data, tmp_path, capsys):
    summary = run(tmp_path, imbalanced(data))
    assert summary == json.loads((tmp_path / "summary.json").read_text())
    program = Program.load(tmp_path / "program.safetensors")
    answers = Executor(program)(data.normalise(data.test.images).numpy()).argmax(1)
    confusion = [[0] * 4 for _ in range(4)]
    for label, answer in zip(data.test.targets.tolist(), answers.tolist(), strict=True):
        confusion[label][answer] += 1
    classes = summary["classes"]
    assert classes["names"] == ["0", "1", "2", "3"] and classes["test"] == figures_of(confusion)
    assert classes["test"]["images"] == list(COUNTS)
    assert summary["accuracy"]["integer"]["test"] == sum(confusion[i][i] for i in range(4)) / sum(COUNTS)
    assert 0 < classes["val"]["balanced_accuracy"] <= 1 and len(classes["val"]) == 1
    said = capsys.readouterr().out
    assert said.count("0: 200, 1: 40, 2: 40, 3: 20") == 1 and "task.class_weights=balanced" in said


def test_balanced_weights_raise_the_balanced_accuracy_and_nothing_is_noted(data, tmp_path, capsys):
    plain = run(tmp_path / "plain", imbalanced(data, "fixed"))
    capsys.readouterr()
    chosen = ClassificationSettings(class_weights="balanced")
    balanced = run(tmp_path / "balanced", imbalanced(data, "fixed", task=chosen))
    assert "task.class_weights" not in capsys.readouterr().out
    before, after = (s["classes"]["test"]["balanced_accuracy"] for s in (plain, balanced))
    assert after > before
