"""Results survive their file, and what of it is damaged is named."""

import json

import numpy as np
import pytest

from search.results import Result, front_volume, hypervolume, read_results, write_results
from spaces.architecture import Architecture

RESULTS = [
    Result(
        "gradient",
        seed,
        Architecture("net", {"a/bits": (2, seed)}, {"head": "the output"}),
        {"accuracy/val": 0.5 + seed / 7},
        {"flash_bytes": 100.0},
        {"flash_bytes": "B"},
        {"flash_bytes": 120.0},
        True,
        1.5,
    )
    for seed in range(3)
]


@pytest.fixture
def path(tmp_path):
    write_results(tmp_path / "results.jsonl", RESULTS)
    return tmp_path / "results.jsonl"


def test_results_survive_their_file(path):
    assert read_results(path) == (RESULTS, [])


def test_a_truncated_line_is_named_and_the_rest_is_read(path):
    path.write_text(path.read_text()[:-40])
    found, faults = read_results(path)
    assert found == RESULTS[:2]
    assert len(faults) == 1 and f"{path}, line 3: is no JSON" in faults[0]


def test_a_line_that_is_no_text_is_named_and_the_rest_is_read(path):
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1].replace(b"gradient", b"gr\xff") + lines[2])
    found, faults = read_results(path)
    assert found == [RESULTS[0], RESULTS[2]]
    assert len(faults) == 1 and f"{path}, line 2: is no UTF-8 text (byte 0xff" in faults[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "is of format 2, this version reads 1: read it with the version of picojoule that wrote it"),
        ({"metrics": None, "surprise": 1}, "is no result: metrics is None, not {name: a number}"),
        ({"surprise": 1}, "surprise is unknown"),
        ({"metrics": 3}, "metrics is 3, not {name: a number}"),
        ({"metrics": {"accuracy/test": 0.5}}, "metrics have no 'accuracy/val'"),
        ({"metrics": {"accuracy/val": "high"}}, "metrics is {'accuracy/val': 'high'}, not"),
        ({"costs": None, "seed": 1.5, "met": 1}, "seed is 1.5, not a whole number; costs is None"),
        ({"costs": {"macs": True}}, "costs is {'macs': True}"),
        ({"strategy": 1}, "strategy is 1, not text"),
        ({"architecture": {"space": "net"}}, "architecture"),
        ({"architecture": 5}, "architecture is 5, not an object"),
    ],
)
def test_lines_of_other_versions_are_named(path, change, message):
    lines = path.read_text().splitlines()
    lines[1] = json.dumps(json.loads(lines[1]) | change)
    path.write_text("\n".join(lines))
    found, faults = read_results(path)
    assert found == [RESULTS[0], RESULTS[2]]
    assert "line 2" in faults[0] and message in faults[0]


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match="no such file"):
        read_results(tmp_path / "results.jsonl")


# The volume of a front


def test_the_volume_is_accuracy_by_octaves_of_the_cost():
    assert front_volume([400, 100], [0.9, 0.5], [0.9, 0.5], 1600) == pytest.approx(2 * 0.9 + 2 * 0.5)
    assert front_volume([1600, 3200], [0.9, 1.0], [0.9, 1.0], 1600) == 0  # nothing is smaller than the seed network


def test_of_one_accuracy_the_volume_is_the_hypervolume():
    random = np.random.default_rng(0)
    for _ in range(50):
        costs, accuracies = random.integers(1, 40, 12) * 50.0, random.integers(0, 20, 12) / 20
        corners = np.column_stack([np.log2(costs / 1000), -accuracies])
        assert front_volume(costs, accuracies, accuracies, 1000) == pytest.approx(hypervolume(corners, np.zeros(2)))


def test_validation_data_chooses_the_points_and_test_data_measures_them():
    assert front_volume([200, 100], [0.85, 0.80], [0.85, 0.90], 400) == pytest.approx(0.85 + 0.90)  # no luck of test
    costs, val, test = [800, 400], [0.5, 0.75], [1.0, 0.5]
    assert front_volume(costs, val, test, 1600) == 2 * 0.5  # the first is on no front but that of the test data
    assert front_volume(costs, val, val, 1600) == 2 * 0.75
    assert front_volume(costs, test, test, 1600) == 1 * 1.0 + 1 * 0.5
