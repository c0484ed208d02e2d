"""Counts of answers: the metric, the confusion matrix and what follows from it, by hand."""

import pytest
import torch

from search import distributed
from search.tasks.class_scores import ClassScores, figures_of

CONFUSION = [[3, 1, 0], [0, 0, 2], [0, 0, 0]]  # of the last class there are no images


def logits(*answers: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(answers), 3).float()


@pytest.fixture
def scores():
    found = ClassScores(3)
    found.add(logits(0, 0, 1, 2), torch.tensor([0, 0, 0, 1]))
    found.add(logits(0, 2), torch.tensor([0, 1]))
    return found


def test_the_metric_is_the_share_of_right_answers(scores):
    assert scores.value == scores.own_value == 3 / 6


def test_figures_may_be_read_between_batches(scores):
    assert scores.own_value == scores.value == 3 / 6
    scores.add(logits(1, 1), torch.tensor([1, 0]))
    assert scores.own_value == scores.value == 4 / 8
    assert scores.confusion() == [[3, 2, 0], [0, 1, 2], [0, 0, 0]]


def test_all_processes_count_and_each_knows_its_own(scores, monkeypatch):
    monkeypatch.setattr(distributed, "summed", lambda own, device: [2.0 * value for value in own])
    scores.add(logits(1), torch.tensor([1]))
    assert scores.value == 8 / 14 and scores.own_value == 4 / 7
    assert scores.confusion() == [[6, 2, 0], [0, 2, 4], [0, 0, 0]]


def test_a_part_of_a_batch_may_be_empty(scores):
    scores.add(torch.empty(0, 3), torch.empty(0, dtype=torch.int64))
    assert scores.value == 3 / 6


def test_of_equal_logits_the_first_class_is_the_answer():
    scores = ClassScores(3)
    scores.add(torch.tensor([[1.0, 2.0, 2.0]]), torch.tensor([1]))
    assert scores.value == 1.0


def test_confusion_is_counted_by_label_and_answer(scores):
    assert scores.confusion() == CONFUSION


def test_figures_are_those_of_a_hand_count():
    assert figures_of(CONFUSION) == {
        "confusion": CONFUSION,
        "balanced_accuracy": (3 / 4 + 0 / 2) / 2,  # over the two classes that occur
        "recall": [3 / 4, 0.0, None],
        "precision": [1.0, 0.0, 0.0],
        "images": [4, 2, 0],
    }


def test_a_class_that_is_never_answered_has_no_precision():
    assert figures_of([[2, 0], [1, 0]])["precision"] == [2 / 3, None]


def test_balanced_accuracy_is_the_accuracy_where_classes_are_of_one_size():
    found = figures_of([[5, 5, 0], [1, 8, 1], [3, 3, 4]])
    assert found["balanced_accuracy"] == pytest.approx((5 + 8 + 4) / 30)
