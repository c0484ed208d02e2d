"""Classification: the loss with and without class weights, what the last layer must be, and what is noted."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from search import distributed
from search.data.data import Data, Split
from search.settings.tasks import ClassificationSettings
from search.tasks import SETTINGS, TASKS
from search.tasks.classification import Classification

CLASSES = ("cat", "dog", "owl")


def data_of(*counts: int) -> Data:
    labels = torch.cat([torch.full((n,), label) for label, n in enumerate(counts)])
    split = Split(torch.zeros(len(labels), 1, 2, 2), labels)
    return Data("pets", split, split, split, CLASSES[: len(counts)], (0.0,), (1.0,))


def task_of(*counts: int, weights=None, label_smoothing: float = 0.0) -> Classification:
    return Classification.of(ClassificationSettings(class_weights=weights), data_of(*counts), label_smoothing)


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(7, 3, generator=generator), torch.tensor([0, 1, 2, 2, 1, 0, 2])


def test_every_task_has_settings_of_its_own():
    assert TASKS.keys() == SETTINGS.keys()
    assert all(SETTINGS[name].name == name for name in SETTINGS)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_without_class_weights_the_loss_is_cross_entropy_to_the_bit(batch, label_smoothing):
    loss = task_of(4, 4, 4, label_smoothing=label_smoothing).loss(*batch)
    assert torch.equal(loss, F.cross_entropy(*batch, label_smoothing=label_smoothing))


def test_a_weighted_loss_is_a_weighted_mean():
    even = torch.tensor([[0.0, 0.0], [math.log(3), 0.0], [0.0, math.log(7)]])  # shares 1/2; 3/4, 1/4; 1/8, 7/8
    loss = task_of(5, 5, weights=[1, 3]).loss(even, torch.tensor([0, 1, 1]))
    assert loss.item() == pytest.approx((1 * math.log(2) + 3 * math.log(4) + 3 * math.log(8 / 7)) / (1 + 3 + 3))


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_a_weighted_loss_is_that_of_torch(batch, label_smoothing):
    loss = task_of(4, 4, 4, weights=[0.5, 2, 1], label_smoothing=label_smoothing).loss(*batch)
    weighted = nn.CrossEntropyLoss(torch.tensor([0.5, 2.0, 1.0]), label_smoothing=label_smoothing)
    torch.testing.assert_close(loss, weighted(*batch))


def test_over_several_processes_a_weighted_loss_is_that_of_the_whole_batch(batch, monkeypatch):
    outputs, labels = batch[0][:6], batch[1][:6]
    weights = [0.5, 2.0, 7.0]
    parts = [(outputs[:3], labels[:3]), (outputs[3:], labels[3:])]
    mean = torch.tensor(weights)[labels].sum() / 2  # over two processes
    monkeypatch.setattr(distributed, "mean_", lambda own: mean)
    together = sum(task_of(4, 4, 4, weights=weights).loss(*part) for part in parts) / 2
    monkeypatch.undo()
    torch.testing.assert_close(together, task_of(4, 4, 4, weights=weights).loss(outputs, labels))


def test_balanced_weights_make_every_class_count_the_same():
    assert task_of(8, 2, 2, weights="balanced").facts["class_weights"] == [0.5, 2.0, 2.0]  # 12 / (3 * count)


def test_distillation_is_the_divergence_from_the_teacher_and_knows_no_class_weights():
    outputs, taught = torch.tensor([[0.0, 0.0]]), torch.tensor([[2 * math.log(3), 0.0]])
    expected = 4 * (0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5))  # at temperature 2: 3/4, 1/4
    for weights in (None, [1, 9]):
        found = task_of(5, 5, weights=weights).distance(outputs, taught, 2.0)
        assert found.item() == pytest.approx(expected, rel=1e-6)


def test_a_decision_harms_what_is_trained(batch):
    task = task_of(4, 4, 4, weights=[0.5, 2, 1])
    assert torch.equal(task.comparison_loss(*batch), task.loss(*batch))


def test_the_standard_error_is_that_of_a_share_and_never_zero():
    assert task_of(4, 4).standard_error(0.5, 98) == pytest.approx(math.sqrt(0.25 / 98))
    assert task_of(4, 4).standard_error(1.0, 98) == pytest.approx(math.sqrt(0.99 * 0.01 / 98))


@pytest.mark.parametrize("shape", [(2,), (4,), (3, 1), ()])
def test_a_last_layer_of_another_shape_than_the_classes_is_refused(shape):
    with pytest.raises(ValueError, match=r"model: its output has shape \(N, .*\); pets has 3 classes, so \(N, 3\)"):
        task_of(4, 4, 4).check_output(shape)


def test_a_second_output_is_refused():
    with pytest.raises(
        ValueError, match=r"its output has shape \(N, 3\) and \(N, 1\); pets has 3 classes, so \(N, 3\)"
    ):
        task_of(4, 4, 4).check_output((3,), (1,))


def test_a_last_layer_with_one_output_a_class_is_accepted():
    assert task_of(4, 4, 4).check_output((3,)) is None


def test_classes_that_are_imbalanced_are_noted_with_counts_and_key():
    (note,) = task_of(16, 10, 12).notes
    assert "task.class_weights=balanced" in task_of(16, 10, 12).against_one_answer
    assert task_of(15, 10, 12).against_one_answer == task_of(16, 10, 12, weights="balanced").against_one_answer == ""
    assert "cat: 16, dog: 10, owl: 12" in note and "task.class_weights=balanced" in note
    assert not task_of(15, 10, 12).notes  # 1.5 times the smallest
    assert not task_of(16, 10, 12, weights="balanced").notes


@pytest.mark.parametrize("weights", ["even", [], [1, "2"], [1, 0], [1, -1], [1, math.inf], [1, True], 2.0])
def test_class_weights_of_another_kind_are_refused_by_name(weights):
    with pytest.raises(ValueError, match=r"task\.class_weights is .*; allowed: null, 'balanced', or a list"):
        ClassificationSettings(class_weights=weights)


def test_another_number_of_class_weights_than_classes_is_refused():
    with pytest.raises(ValueError, match=r"task\.class_weights has 2 numbers; pets has 3 classes, cat, dog, owl\."):
        task_of(4, 4, 4, weights=[1, 2])


def test_chance_is_the_share_of_the_most_frequent_class():
    task = task_of(4, 4, 4)
    assert task.chance(torch.tensor([2, 0, 2, 2, 1])) == 0.6
    assert task.chance(torch.tensor([0, 1])) == 0.5  # a class without images among these


def test_a_difference_of_accuracies_is_in_points():
    assert task_of(4, 4).metric.difference(0.0215) == "2.15 points"
