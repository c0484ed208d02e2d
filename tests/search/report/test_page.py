"""The document and its file: self-contained, safe against names, quick to refuse; a run writes its own."""

import json
import re
import sys
from dataclasses import asdict, replace

import pytest
import yaml

from search.report import document, write_report
from search.report.__main__ import main
from search.report.page import ASSETS, SCRIPTS, STYLES, page
from search.report.runs import read_run
from search.report.settings import differing
from search.settings.front import Front
from search.settings.tasks import ClassificationSettings
from search.tasks.class_scores import figures_of
from tests.search.run_folders import LIMITS, change_json
from tests.search.small import run, settings, write_stripes


def embedded(text: str) -> dict:
    (found,) = re.findall(r'<script type="application/json" id="document">(.*?)</script>', text, re.DOTALL)
    return json.loads(found)


@pytest.fixture
def report(tmp_path, monkeypatch, capsys):
    """(*arguments) -> what `python -m search.report` prints, and its errors; SystemExit as the command raises it."""

    def call(*arguments: object) -> tuple[str, str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["report", *map(str, arguments)])
        main()
        return tuple(capsys.readouterr())

    return call


def test_a_run_has_written_its_report(searched):
    folder = searched[LIMITS[0]]
    shown = embedded((folder / "report.html").read_text())
    assert shown["points"][0]["costs"] == json.loads((folder / "summary.json").read_text())["costs"]
    assert shown["runs"][0]["curves"]["epochs"] == list(range(9))


def test_a_report_that_fails_loses_no_run(tmp_path, monkeypatch, capsys):
    def broken(*_):
        raise MemoryError("no memory")

    monkeypatch.setattr("search.report.page.write_report", broken)
    chosen = settings(write_stripes(tmp_path / "d.npz", count=80), "fixed")
    chosen.train.warmup.epochs = chosen.train.finetune.epochs = chosen.train.finetune.integer_epochs = 1
    summary = run(tmp_path / "run", chosen)
    assert summary == json.loads((tmp_path / "run/summary.json").read_text())
    assert not (tmp_path / "run/report.html").exists()
    assert "report: not written (MemoryError: no memory). Nothing else is lost" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ({"name": "npz", "file": "/home/me/windows.v2.npz"}, "windows.v2"),
        ({"name": "image_folder", "folder": "/home/me/photos.v2"}, "photos.v2"),
        ({"name": "fashion_mnist", "folder": "/usr/share/idx"}, "fashion_mnist"),
        ({"name": "fashion_mnist", "folder": None}, "fashion_mnist"),
        ({"name": "arrays"}, "arrays"),
    ],
)
def test_the_title_names_data_of_the_users_own_by_its_file_or_folder(copied, data, name):
    run = read_run(copied("gradient", 0))
    run.settings["data"] = data
    assert document([run])["title"] == f"Small on {name}"


def test_the_document_says_what_each_run_is(copied):
    shown = document([read_run(copied("gradient", 0)), read_run(copied("tpe", 1, 900.0, test=None))])
    assert shown["title"] == "Small on npz" and shown["rivals"] == ["gradient", "tpe"] and not shown["faults"]
    assert shown["runs"][0]["command"] == "python -m search data=npz 'model=a b' seed=0"
    assert list(shown["units"]) == ["flash_bytes", "peak_ram_bytes", "macs"]
    assert [point["scores"]["integer"].get("test") for point in shown["points"]] == [0.75, None]
    assert [(each["rival"], each["values"]) for group in shown["budgets"] for each in group["rivals"]] == [
        ("gradient", (0.75,)),
        ("tpe", (0.51,)),  # without test data validation accuracy counts
    ]


def test_each_exported_network_says_how_its_classes_fare(copied):
    folder = copied("gradient", 0)
    confusion = [[3, 1, 0, 0], [0, 4, 0, 0], [0, 0, 0, 2], [0, 0, 0, 2]]
    classes = {"names": ["cat", "dog", "owl", "</script>"], "test": figures_of(confusion)}
    change_json(folder / "summary.json", {"classes": classes})
    shown = document([read_run(folder)])
    assert shown["metric"]["name"] == "accuracy" and shown["metric"]["unit"] == "%"
    details = embedded(page(shown))["points"][0]["details"]
    assert details["facts"] == {"balanced accuracy": "test 68.75%"}  # (3/4 + 1 + 0 + 1) / 4
    assert details["rows"][2] == ["owl", "2", "0.00%", "-", "</script>, 100.00%"]


def test_a_run_from_before_there_were_tasks_is_a_classification_without_classes(copied):
    folder = copied("gradient", 0)
    summary = json.loads((folder / "summary.json").read_text())
    del summary["classes"]
    (folder / "summary.json").write_text(json.dumps(summary))
    new = copied("tpe", 0)
    config = yaml.safe_load((new / "config.yaml").read_text())
    (new / "config.yaml").write_text(yaml.safe_dump(config | {"task": asdict(ClassificationSettings())}))
    run = read_run(folder)
    assert run.task == "classification" and "task:" not in (folder / "config.yaml").read_text()
    shown = document([run, read_run(new)])
    assert not shown["points"][0]["details"]["rows"]
    assert shown["rivals"] == ["gradient", "tpe"]
    assert not [row for row in differing([run.settings, read_run(new).settings]) if row.startswith("task")]


def test_runs_of_different_tasks_do_not_compare(copied):
    runs = [read_run(copied("gradient", 0)), replace(read_run(copied("tpe", 0)), task="another")]
    with pytest.raises(ValueError, match=r"runs of different tasks \(classification, another\) do not compare"):
        document(runs)


def test_a_front_is_one_run_with_a_network_a_budget(tmp_path, capsys):
    config = settings(
        write_stripes(tmp_path / "d.npz", count=80), front=Front(budgets={"flash_bytes": [1200.0, 600.0]})
    )
    config.plain_values["budgets"] = {"flash_bytes": None, "peak_ram_bytes": 700.0}
    run(tmp_path / "run", config)
    shown = embedded((tmp_path / "run/report.html").read_text())
    names = [point["name"] for point in shown["points"]]
    assert names == ["flash_bytes=1200", "flash_bytes=600"]
    assert [point["budgets"]["flash_bytes"] for point in shown["points"]] == [1200.0, 600.0]
    assert [each["budgets"]["flash_bytes"] for each in shown["budgets"]] == [600.0, 1200.0]
    assert sum(point["knee"] for point in shown["points"]) == 1
    assert shown["runs"][0]["yardstick"]["of"] == "seed network"
    assert shown["runs"][0]["epochs"]["total"] == sum(n for k, n in shown["runs"][0]["epochs"].items() if k != "total")
    assert {phase["name"] for phase in shown["runs"][0]["curves"]["phases"]} >= {"search", "search 2", "finetune 2"}
    assert not shown["faults"]


def test_what_the_search_left_out_is_told_with_the_reason(searched):
    run = read_run(searched[LIMITS[0]])
    run.settings["space"]["weight_bits"] = [3, 4]
    left_out = {each["what"]: each["why"] for each in document([run])["runs"][0]["leftOut"]}
    assert left_out["layer head"] == "channels are fixed: they are the network's output"
    assert left_out["weight bits 3"] == "target 'bench' runs 2, 4, 8"
    assert left_out["channels"] == "no 0 in space.weight_bits"
    assert "weight precision" not in left_out and left_out["activation precision"] == "space.activation_bits is 8"


def test_two_runs_alike_are_named(copied, tmp_path):
    first = copied("gradient", 0)
    twin = first.rename(tmp_path / "twin")
    (fault,) = document([read_run(twin), read_run(copied("gradient", 0))])["faults"]
    assert "twin" in fault and "the same strategy, settings, budgets and seed" in fault


def test_runs_of_other_data_or_models_are_called_not_comparable(copied, tmp_path, report):
    runs = [copied("gradient", 0), copied("tpe", 0)]
    assert report(*runs)[1] == ""
    config = (runs[1] / "config.yaml").read_text()
    (runs[1] / "config.yaml").write_text(config.replace("name: npz", "name: npz\n  file: other.npz"))
    _, errors = report(*runs)
    assert (
        "picojoule: runs of different data sets (npz; npz file=other.npz): what they reach is not comparable" in errors
    )
    assert "different data sets" in embedded((tmp_path / "report.html").read_text())["faults"][0]
    (runs[1] / "config.yaml").write_text(config.replace("small.Small", "small.Other"))
    _, errors = report(*runs)
    assert "runs of different models (tests.search.small.Small; tests.search.small.Other): what sets" in errors


def test_a_model_that_cannot_be_read_is_named_and_its_decisions_are_shown(copied):
    folder = copied("gradient", 0)
    (folder / "model.safetensors").write_bytes(b"damaged")
    shown = document([read_run(folder)])
    assert "model.safetensors: cannot be read as a model" in shown["faults"][0]
    assert {layer["name"]: layer["channels"] for layer in shown["points"][0]["layers"]}["conv2"] == 16


def test_nothing_to_show_is_refused(tmp_path):
    (tmp_path / "results.jsonl").write_text('{"format": 0}\n')
    with pytest.raises(
        ValueError, match=r"nothing to show.*results.jsonl, line 1: is of format 0, this version reads 1"
    ):
        document([read_run(tmp_path)])


def test_names_of_a_run_are_no_markup_and_no_number_is_null(copied, tmp_path):
    folder = copied("gradient", 0)
    name = '</script><script>alert("x")</script><!--scripts-->'
    change_json(folder / "summary.json", {"seconds": {name: float("nan")}, "experiment": "\ud800"})
    (folder / "config.yaml").write_text(f"data: {{name: d}}\nmodel: {{_target_: '{name}'}}\nstrategy: {{name: s}}\n")
    write_report([folder], tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text()
    assert text.count("</script>") == 2 and "alert" not in text.split("</title>")[0].split("<title>")[0]
    assert embedded(text)["runs"][0]["seconds"] == {name: None}


def test_passwords_of_databases_are_not_shown(copied, tmp_path, report):
    folder = copied("tpe", 0)
    url = "postgresql://me:secret@host/db"
    config = (folder / "config.yaml").read_text()
    config = config.replace("seed=0", f"seed=0 strategy.storage={url}").replace(
        "name: tpe", f"name: tpe\n  storage: {url}"
    )
    (folder / "config.yaml").write_text(config)
    report(folder)
    text = (folder / "report.html").read_text()
    assert "secret" in config and "secret" not in text
    shown = embedded(text)["runs"][0]
    assert "strategy.storage=postgresql://me:***@host/db" in shown["command"]
    assert "storage: postgresql://me:***@host/db" in shown["settings"]


def test_the_file_asks_for_nothing_from_outside(searched):
    text = (searched[LIMITS[0]] / "report.html").read_text()
    addresses = set(re.findall(r"\b(?:https?:)?//[\w.]+[^\s\"'`)]*", text))
    assert {a for a in addresses if a.startswith("http")} == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"\bsrc=|@import|url\(|fetch\(|XMLHttpRequest|import\(", text)
    assert "default-src 'none'" in text


def test_the_same_runs_give_the_same_bytes(searched):
    runs = [searched[limit] for limit in LIMITS]
    assert page(document([read_run(r) for r in runs])) == page(document([read_run(r) for r in runs]))


def test_every_asset_is_in_the_page():
    names = {f"{name}.css" for name in STYLES} | {f"{name}.js" for name in SCRIPTS} | {"page.html"}
    assert {path.name for path in ASSETS.iterdir()} == names


def test_command_writes_into_the_run_or_where_it_is_called(copied, tmp_path, report):
    runs = [copied("gradient", 0), copied("tpe", 0)]
    report(runs[0])
    said, errors = report(*runs)
    assert (runs[0] / "report.html").is_file() and len(embedded((tmp_path / "report.html").read_text())["runs"]) == 2
    assert said.startswith("report.html: ") and errors == ""


def test_command_names_truncated_lines_and_what_is_no_run(copied, tmp_path, report):
    folder = copied("gradient", 0)
    (folder / "history.jsonl").write_text((folder / "history.jsonl").read_text()[:-20])
    _, errors = report(folder, "--output", tmp_path / "r.html")
    assert f"picojoule: {folder}/history.jsonl, line 9: is no JSON" in errors
    assert "line 9" in embedded((tmp_path / "r.html").read_text())["faults"][0]
    with pytest.raises(SystemExit, match=f"^picojoule: '{tmp_path}': no run folder"):
        report(tmp_path)


# Colours


def palette(dark: bool) -> dict[str, str]:
    text = (ASSETS / "colours.css").read_text()
    light, _, rest = text.partition("@media")
    found = dict(re.findall(r"--([\w-]+):\s*(#[0-9a-f]{6});", light))
    return found | (dict(re.findall(r"--([\w-]+):\s*(#[0-9a-f]{6});", rest)) if dark else {})


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_text_and_marks_stand_out_from_the_page(dark):
    """WCAG 2.2: 4.5 for text (1.4.3), 3 for what is to be seen in a figure (1.4.11)."""
    colours = palette(dark)
    assert all(contrast(colours[name], colours["paper"]) >= 4.5 for name in ("ink", "soft", "accent", "bad", "good"))
    assert all(contrast(colours["soft"], colours[name]) >= 4.5 for name in ("wash", "paper"))
    assert all(contrast(colours[f"r{i}"], colours["paper"]) >= 3 for i in range(7))


@pytest.mark.parametrize("dark", [False, True])
def test_more_bits_are_farther_from_the_page(dark):
    colours = palette(dark)
    ladder = [contrast(colours[f"b{bits}"], colours["paper"]) for bits in (0, 1, 2, 3, 4, 5, 6, 7, 8, 16)]
    assert ladder == sorted(ladder)


def test_runs_of_other_lengths_are_called_so(copied):
    runs = [read_run(copied("gradient", 0)), read_run(copied("tpe", 0))]
    epochs = runs[0].summary["epochs"]
    assert document(runs)["faults"] == []
    runs[1].summary["epochs"] = epochs | {"total": 10 * epochs["total"]}
    (fault,) = document(runs)["faults"]
    assert f"runs of different lengths (gradient {epochs['total']:.0f} epochs; tpe" in fault
