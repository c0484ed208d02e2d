"""Results survive their file, and what of it is damaged is named."""

import json

import pytest

from search.errors import UsageError
from search.files.results import Result, read_results, write_results
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
        ({"metrics": None, "surprise": 1}, "is no result: metrics is None, not {name: a finite number}"),
        ({"surprise": 1}, "surprise is unknown"),
        ({"metrics": 3}, "metrics is 3, not {name: a finite number}"),
        ({"metrics": {"accuracy/test": 0.5}}, "metrics have no 'accuracy/val'"),
        ({"metrics": {"accuracy/val": "high"}}, "metrics is {'accuracy/val': 'high'}, not"),
        ({"costs": None, "seed": 1.5, "met": 1}, "seed is 1.5, not a whole number; costs is None"),
        ({"costs": {"macs": True}}, "costs is {'macs': True}"),
        ({"strategy": 1}, "strategy is 1, not text"),
        ({"architecture": {"space": "net"}}, "architecture"),
        ({"architecture": 5}, "architecture is 5, not an object"),
        ({"metrics": {"accuracy/val": float("inf")}}, "metrics is {'accuracy/val': inf}, not {name: a finite number}"),
        ({"costs": {"macs": float("nan")}}, "costs is {'macs': nan}, not {name: a finite number}"),
        ({"budgets": {"macs": float("-inf")}}, "budgets is {'macs': -inf}"),
        ({"seconds": 10**400}, "seconds is 1000"),
        ({"architecture": {"space": "net", "picks": {"a/bits": [float("inf")]}}}, "inf is no whole number"),
        ({"architecture": {"space": "net", "picks": {"a/bits": [2.5, True]}}}, "2.5 is no whole number"),
    ],
)
def test_lines_of_other_versions_are_named(path, change, message):
    lines = path.read_text().splitlines()
    lines[1] = json.dumps(json.loads(lines[1]) | change)
    path.write_text("\n".join(lines))
    found, faults = read_results(path)
    assert found == [RESULTS[0], RESULTS[2]]
    assert "line 2" in faults[0] and message in faults[0]


def test_a_folder_is_refused_with_the_file_that_is_meant(tmp_path):
    with pytest.raises(UsageError, match=r": is a folder\. Name the file in it, such as results\.jsonl"):
        read_results(tmp_path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match="no such file"):
        read_results(tmp_path / "results.jsonl")
