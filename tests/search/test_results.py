"""Results survive their file, and what of it is damaged is named."""

import json

import pytest

from search.results import Result, read_results, write_results
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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "is not of format 1"),
        ({"metrics": None, "surprise": 1}, "is no result"),
        ({"architecture": {"space": "net"}}, "architecture"),
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
