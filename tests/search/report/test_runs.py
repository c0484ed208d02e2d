"""A run folder as plain values: all of it, and what of it is damaged by name."""

import json
import shutil

import pytest
import yaml

from search.files.run_folders import RunFolderError
from search.report import document
from search.report.runs import read_run
from tests.search.run_folders import COMMAND, LIMITS, change_json


@pytest.fixture
def folder(searched, tmp_path):
    shutil.copytree(searched[LIMITS[0]], tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints"))
    return tmp_path / "run"


def test_a_whole_run(folder):
    run = read_run(folder)
    summary = json.loads((folder / "summary.json").read_text())
    (point,) = run.points
    assert run.finished and not run.faults and run.strategy == "gradient" and run.seed == 0
    assert run.command == COMMAND and run.settings["target"]["name"] == "bench"
    assert run.settings_text.startswith("data:")
    assert [end.phase for end in run.history] == ["warmup"] * 2 + ["search"] * 4 + ["finetune"] * 3
    assert point.architecture.hash == summary["architecture"] and point.budgets == {
        "flash_bytes": 500.0,
        "peak_ram_bytes": 700.0,
    }
    assert point.of_integers("test") == summary["accuracy"]["integer"]["test"]


def test_a_task_that_this_version_lacks_is_refused(folder):
    config = yaml.safe_load((folder / "config.yaml").read_text())
    (folder / "config.yaml").write_text(yaml.safe_dump(config | {"task": {"name": "detection"}}))
    with pytest.raises(
        RunFolderError, match=r"config.yaml: task.name 'detection' is not one of \['anomaly', 'classification', "
    ):
        read_run(folder)


def test_results_of_another_format_are_named_and_the_run_is_shown(folder):
    change_json(folder / "results.jsonl", {"format": 99})
    run = read_run(folder)
    assert len(run.points) == 1 and run.strategy == "gradient"  # of config.yaml
    (fault,) = run.faults
    assert f"{folder / 'results.jsonl'}, line 1: is of format 99, this version reads 1" in fault


def test_a_truncated_line_is_named_and_the_rest_is_read(folder):
    lines = (folder / "history.jsonl").read_text()
    (folder / "history.jsonl").write_text(lines[:-20])
    run = read_run(folder)
    assert len(run.history) == 8
    assert run.faults[0].startswith(f"{folder / 'history.jsonl'}, line 9: is no JSON")
    assert run.faults[0].endswith("the other lines are used. Restore that line, or delete it.")


def test_architectures_that_were_measured_and_not_exported_are_points_too(folder):
    line = json.loads((folder / "results.jsonl").read_text())
    other = line["architecture"] | {"picks": {"conv1/bits": [2] * 8}, "hash": None}
    with (folder / "results.jsonl").open("a") as file:
        file.write(json.dumps(line | {"architecture": other}) + "\n")
    exported, measured = read_run(folder).points
    assert exported.folder == folder and measured.folder is None
    assert measured.of_integers("val") == line["metrics"]["accuracy/val"] and measured.of_integers("test") is None


def test_an_interrupted_run_is_unfinished(folder):
    for name in ("summary.json", "results.jsonl", "architecture.json", "model.safetensors"):
        (folder / name).unlink()
    run = read_run(folder)
    assert not run.finished and not run.points and len(run.history) == 9 and run.strategy == "gradient"


def test_points_of_a_front_are_read_from_their_folders(folder, searched):
    entries = []
    for limit in LIMITS:
        place = folder / "points" / f"{limit:g}"
        place.mkdir(parents=True)
        for name in ("summary.json", "architecture.json", "model.safetensors"):
            shutil.copy(searched[limit] / name, place)
        entries.append({"folder": f"points/{limit:g}", "point": f"{limit:g}", "lambdas": {"macs": 0.1}})
    summary = json.loads((folder / "summary.json").read_text())
    shared = {key: summary[key] for key in ("experiment", "seed", "seconds", "versions")}
    (folder / "summary.json").write_text(json.dumps(shared | {"points": entries}))
    found = [point for point in read_run(folder).points if point.folder]
    assert [point.folder.name for point in found] == ["500", "900"]
    assert [point.budgets["flash_bytes"] for point in found] == [500.0, 900.0]
    assert all(point.summary["point"] == point.folder.name for point in found)


def test_a_point_without_its_summary_is_left_out_and_named(folder):
    (folder / "summary.json").write_text(json.dumps({"points": [{"folder": "points/a", "budgets": {}}]}))
    run = read_run(folder)
    assert f"{folder / 'points/a/summary.json'}: no accuracy or costs there" in run.faults[0]


@pytest.mark.parametrize(
    "change, said",
    [
        ({"accuracy": 5}, "accuracy is 5, not {name: {name: a finite number}}"),
        ({"accuracy": {"integer": {"val": None}}}, "accuracy is {'integer': {'val': None}}"),
        ({"costs": {"macs": {"found": "many", "unit": "MAC"}}}, "costs is {"),
        ({"points": [{}]}, "point 1: folder is missing; the point is left out"),
        ({"points": [5]}, "point 1: 5 is no object"),
        ({"points": {}}, "points is {}, not a list"),
        ({"seed": "one"}, "seed is 'one', not a whole number"),
        ({"seconds": None, "epochs": 3}, "epochs is 3, not {name: a number}"),
        ({"front": []}, "front is [], not {knee: text}"),
        ({"warnings": [{"name": "at_chance"}]}, "warnings is [{'name': 'at_chance'}], not [{name: text, seen: text, "),
        ({"stages": {"float": None}}, "stages is {'float': None}, not {name: a finite number}"),
        ({"classes": {"names": ["cat"]}, "accuracy": 1}, "accuracy is 1, not"),
        ({"classes": {"names": 3}}, "classes is {'names': 3}, not names of classes and a confusion matrix"),
    ],
)
def test_a_summary_with_other_kinds_is_named_and_the_rest_is_shown(folder, change, said):
    change_json(folder / "summary.json", change)
    run = read_run(folder)
    assert any(fault.startswith(f"{folder / 'summary.json'}") and said in fault for fault in run.faults)
    assert all("Restore" in fault for fault in run.faults)
    assert len(run.history) == 9 and len(run.points) == 1
    assert len(document([run])["faults"]) == len(run.faults)


def test_a_point_whose_own_summary_is_damaged_is_what_the_run_says_of_it(folder):
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "points/a").mkdir(parents=True)
    (folder / "points/a/summary.json").write_text("{")
    (folder / "summary.json").write_text(json.dumps({"points": [summary | {"folder": "points/a"}]}))
    run = read_run(folder)
    assert "points/a/summary.json: is damaged" in run.faults[0]
    assert run.points[0].costs == summary["costs"] and run.points[0].folder == folder / "points/a"


@pytest.mark.parametrize(
    "text, said",
    [
        ('{"format": 2, "decisions": {}}', "is of format 2, this version reads 1"),
        ("{", "is no JSON"),
        ('{"format": 1}', "decisions is missing"),
        ('{"format": 1, "decisions": {"a": {}}}', "decision 'a': options is missing"),
        (
            '{"format": 1, "decisions": {"a": {"options": [2, 4], "loss_increase": [[0.5]]}}}',
            "decision 'a': rows of loss_increase have [1] numbers for 2 options",
        ),
    ],
)
def test_sensitivity_that_cannot_be_read_is_left_out_and_named(folder, text, said):
    (folder / "sensitivity.json").write_text(text)
    run = read_run(folder)
    assert run.sensitivity == {} and f"{folder / 'sensitivity.json'}: {said}" in run.faults[0]
    assert run.faults[0].endswith("Restore it, or delete it.")


def test_decisions_of_a_sensitivity_that_are_whole_are_shown(folder):
    whole = {"options": [2, 4], "loss_increase": [[0.5, 0.0]]}
    (folder / "sensitivity.json").write_text(json.dumps({"format": 1, "decisions": {"a": {}, "b": whole}}))
    assert read_run(folder).sensitivity == {"b": whole}


@pytest.mark.parametrize("text", ["strategy: 5\nbudgets: {a: b}\n", "space: []\nseed: x\n"])
def test_settings_of_another_kind_are_left_out_and_named(folder, text):
    (folder / "config.yaml").write_text(text)
    run = read_run(folder)
    assert run.settings == {} and len(run.faults) == 2 and all("config.yaml: " in fault for fault in run.faults)
    assert document([run])["points"]


def test_a_damaged_config_costs_only_the_settings(folder):
    (folder / "config.yaml").write_text("# python -m search\nmodel: {_target_: a.b\n")
    run = read_run(folder)
    assert run.settings == {} and run.command == "python -m search" and len(run.points) == 1
    assert "config.yaml: is damaged" in run.faults[0]


# Refusals


def test_a_folder_that_is_no_run_is_refused_and_runs_below_it_are_named(folder):
    with pytest.raises(RunFolderError, match=rf"no run folder: it has none of summary.json.*there are {folder}"):
        read_run(folder.parent)
    with pytest.raises(RunFolderError, match="Name a folder that a run has written"):
        read_run(folder / "nothing")


@pytest.mark.parametrize("text", ['{"seed": 0', "[]", ""])
def test_a_damaged_summary_is_refused_by_name(folder, text):
    (folder / "summary.json").write_text(text)
    with pytest.raises(RunFolderError, match=r"summary\.json: is damaged .*delete it and resume the run"):
        read_run(folder)
