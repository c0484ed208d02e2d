"""Runs side by side in the terminal."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from search.compare import compare, show
from search.files.run_folders import RunFolderError
from tests.search.run_folders import WARNING, change_json

ROOT = Path(__file__).parents[2]


def text_of(folders) -> str:
    stream = io.StringIO()
    show(compare(folders)[0], stream)
    return stream.getvalue()


def row(text: str, name: str) -> list[str]:
    (found,) = [line for line in text.splitlines() if line.startswith(f"{name} ")]
    return found.split()


def test_what_differs_and_nothing_else(copied):
    text = text_of([copied("gradient", 0), copied("tpe", 1, 900.0, test=0.5)])
    assert row(text, "strategy.name")[1:] == ["gradient", "tpe"]
    assert row(text, "budgets.flash_bytes")[1:] == ["500.0", "900.0"]
    assert row(text, "seed")[1:] == ["0", "1"]
    assert "space." not in text
    assert row(text, "integer, test")[2:] == ["75.00%", "50.00%"]


def test_costs_stand_against_budgets_and_layers_side_by_side(copied):
    text = text_of([copied("gradient", 0), copied("tpe", 1, 900.0)])
    flash = row(text, "flash, B")
    assert flash[3:6] == ["/", "500", "met"] and flash[7:] == ["/", "900", "met"]
    layers = row(text, "conv2")
    assert layers[1].endswith("/16") and ":" in layers[2]


def test_columns_are_aligned_and_plain_off_a_terminal(copied):
    folders = [copied("gradient", 0), copied("tpe", 0, test=0.5)]
    text = text_of(folders)
    assert text.isascii() and "\x1b" not in text and not any(line.endswith(" ") for line in text.splitlines())
    accuracies = text.split("\n\n")[1].splitlines()
    assert accuracies[0].index(folders[0].name) == accuracies[1].index("75.00%") == accuracies[2].index("76.00%")
    assert accuracies[0].index(folders[1].name) == accuracies[1].index("50.00%") == accuracies[2].index("51.00%")


def test_what_is_the_same_stands_once_and_last(copied):
    first, second = copied("gradient", 0), copied("tpe", 0, test=0.5)
    costs = json.loads((second / "summary.json").read_text())["costs"]
    costs["flash_bytes"]["found"] = 600
    change_json(second / "summary.json", {"costs": costs})
    text = text_of([first, second])
    assert text.index("integer, test") < text.index("flash, B") < text.index("the same in all networks")
    assert row(text, "flash, B")[-6:] == ["600", "/", "500", "OVER", "by", "100"]
    (alike,) = [part for part in text.split("\n\n") if part.startswith("the same in all networks")]
    assert "conv2" in alike and len(row(alike, "multiply-adds, MAC")) == 3
    assert "the same" not in text_of([first])


def test_a_network_with_warnings_has_a_mark_and_without_any_there_is_no_row(copied):
    healthy, collapsed = copied("gradient", 0), copied("tpe", 0, warnings=[WARNING])
    assert row(text_of([healthy, collapsed]), "WARNING")[1:] == ["-", "at_chance"]
    assert "WARNING" not in text_of([healthy])


def test_unfinished_runs_are_named_and_all_unfinished_refused(copied):
    done, begun = copied("gradient", 0), copied("tpe", 0)
    for name in ("summary.json", "results.jsonl"):
        (begun / name).unlink()
    tables, faults = compare([done, begun])
    assert tables and f"{begun}: unfinished" in faults[-1]
    with pytest.raises(ValueError, match=rf"no network to compare. {begun}: unfinished \(resume it\)"):
        compare([begun])
    with pytest.raises(RunFolderError, match="no run folder"):
        compare([done.parent])


def test_passwords_of_databases_are_not_shown(copied):
    runs = [copied("gradient", 0), copied("tpe", 0)]
    config = runs[1] / "config.yaml"
    config.write_text(config.read_text().replace("name: tpe", "name: tpe\n  storage: mysql://me:secret@host/db"))
    assert row(text_of(runs), "strategy.storage")[1:] == ["-", "mysql://me:***@host/db"]


def test_damaged_files_are_named_and_the_rest_is_compared(copied):
    whole, damaged = copied("gradient", 0), copied("tpe", 0)
    change_json(damaged / "summary.json", {"seconds": 3, "points": [{}]})
    change_json(damaged / "results.jsonl", {"metrics": 3})
    (damaged / "config.yaml").write_text("strategy: 3\n")
    tables, faults = compare([whole, damaged])
    assert (
        len(tables) == 4
        and faults[-1] == f"{damaged}: no network of it can be read, so that its settings alone compare."
    )
    for name in (
        "summary.json: seconds is 3",
        "summary.json, point 1",
        "results.jsonl, line 1",
        "config.yaml: strategy",
    ):
        assert any(fault.startswith(f"{damaged}/{name}") for fault in faults)


def test_command_prints_to_a_pipe_that_may_close(copied):
    folder = copied("gradient", 0)
    command = f"{sys.executable} -m search.compare {folder} | head -n 1"
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, shell=True, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stdout.startswith("accuracy") and "Traceback" not in done.stderr
