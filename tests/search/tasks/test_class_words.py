"""What people read of a classification."""

import pytest

from search.tasks.class_scores import figures_of
from search.tasks.class_words import ClassWords, worst

SUMMARY = {
    "classes": {
        "names": ["cat", "dog", "owl"],
        "val": {"balanced_accuracy": 0.5},
        "test": figures_of([[3, 0, 1], [0, 1000, 0], [0, 0, 0]]),
    }
}


def test_a_value_is_written_in_percent():
    assert ClassWords.metric.written(0.8715) == "87.15%"
    assert ClassWords.metric.of("val") == "accuracy/val"


def test_each_class_has_a_row():
    details = ClassWords().details(SUMMARY, 10)
    assert details.facts == {"balanced accuracy": "val 50.00%, test 87.50%"}
    assert details.title == "classes on test data"
    assert details.rows == (
        ("cat", "4", "75.00%", "100.00%", "owl, 25.00%"),
        ("dog", "1,000", "100.00%", "100.00%", "-"),
        ("owl", "0", "-", "0.00%", "-"),
    )


def test_accuracy_that_hides_rare_classes_has_the_balanced_accuracy_beside_it():
    """686, 35 and 10 images, all taken for the first class: 686 / 731 are right, and (1 + 0 + 0) / 3 balanced."""
    rare = {"names": ["usual", "rare", "rarest"], "test": figures_of([[686, 0, 0], [35, 0, 0], [10, 0, 0]])}
    details = ClassWords().details({"classes": rare}, 10)
    assert f"{686 / 731:.2%}" == "93.84%" and details.caution == "balanced over classes 33.33%"
    assert details.rows == (
        ("usual", "686", "100.00%", "93.84%", "-"),
        ("rare", "35", "0.00%", "-", "usual, 100.00%"),
        ("rarest", "10", "0.00%", "-", "usual, 100.00%"),
    )
    even = {"names": ["a", "b"], "test": figures_of([[9, 1], [1, 9]])}
    assert ClassWords().details({"classes": even}, 10).caution == ""


def test_of_many_classes_the_worst_ten_have_rows():
    confusion = [[0] * 12 for _ in range(12)]
    for label in range(11):  # class 0 has no image, and class 1 the highest recall
        confusion[label + 1][label + 1], confusion[label + 1][0] = 20 - label, label
    names = [f"class {label}" for label in range(12)]
    details = ClassWords().details({"classes": {"names": names, "test": figures_of(confusion)}}, 10)
    assert details.title == "classes on test data, the 10 of lowest recall among 12"
    assert [row[0] for row in details.rows] == [f"class {label}" for label in range(11, 1, -1)]


def test_a_summary_without_classes_has_no_details():
    details = ClassWords().details({"accuracy": {}}, 10)
    assert not details.facts and not details.rows


def test_the_worst_are_those_of_lowest_recall():
    assert worst([0.9, None, 0.1, 0.5], 2) == [2, 3]


@pytest.mark.parametrize(
    "change",
    [
        {"names": ["cat", "dog"]},
        {"names": "cat, dog, owl"},
        {"val": {}},
        {"test": {"balanced_accuracy": 0.5}},
        {"test": {"balanced_accuracy": 0.5, "confusion": [[1, 2], [3, 4]]}},
        {"test": {"balanced_accuracy": 0.5, "confusion": [[0] * 3] * 3}},
        {"test": {"balanced_accuracy": 0.5, "confusion": [[1, 0, -1]] * 3}},
    ],
)
def test_damage_to_the_classes_is_found(change):
    kind = ClassWords.kinds["classes"]
    assert kind.holds(SUMMARY["classes"])
    assert not kind.holds(SUMMARY["classes"] | change)
