"""A run that collapses says so in the terminal, in its summary and in its report; one that does not says nothing."""

import json
import re

import pytest

from search.config import parse
from search.model import model_maker
from search.report import document
from search.report.runs import read_run
from search.run import run as run_in_folder
from search.settings.front import Front
from tests.search.small import run, settings


def names(summary) -> list[str]:
    return [warning["name"] for warning in summary["warnings"]]


@pytest.fixture(scope="module")
def collapsed(more_data, tmp_path_factory):
    """A search whose learning rate is absurdly high."""
    folder, chosen = tmp_path_factory.mktemp("collapsed") / "run", settings(more_data)
    chosen.strategy.lr = 30.0
    return folder, run(folder, chosen)


def test_a_collapse_is_named_in_the_summary_with_where_it_came_about(collapsed):
    folder, summary = collapsed
    assert summary == json.loads((folder / "summary.json").read_text())
    assert names(summary)[-2:] == ["far_below_float", "at_chance"]
    far, useless = summary["warnings"][-2:]
    assert "It was lost in the search, which ended at 25.00%" in far["cause"] and "strategy.epochs=8" in far["advice"]
    assert "an answer that is the same for every image has 25.00%" in useless["seen"]
    stages = summary["stages"]
    assert stages["float"] - stages["searched"] > 0.5 and stages["integer"] == summary["accuracy"]["integer"]["val"]
    assert summary["below_float"]["val"] == stages["float"] - stages["integer"] > 0.5


def test_a_collapse_is_at_the_top_of_the_report(collapsed):
    folder, summary = collapsed
    text = (folder / "report.html").read_text()
    (embedded,) = re.findall(r'<script type="application/json" id="document">(.*?)</script>', text, re.DOTALL)
    shown = json.loads(embedded)
    assert [warning["name"] for warning in shown["warnings"]] == names(summary)
    assert all(warning["of"] == [0] for warning in shown["warnings"])
    assert shown["points"][0]["stages"]["after the search"] == summary["stages"]["searched"]


def test_a_collapse_is_in_the_terminal_before_the_summary_and_below_it(more_data, tmp_path, capsys):
    chosen = settings(more_data, "fixed", budgets={})
    chosen.train.warmup.epochs, chosen.train.finetune.lr, chosen.train.finetune.integer_epochs = 0, 1e-9, 0
    run(tmp_path / "run", chosen)
    lines = capsys.readouterr().out.splitlines()
    block, summary, last = (
        lines.index("WARNING       float_at_chance"),
        next(i for i, line in enumerate(lines) if line.startswith("experiment ")),
        len(lines) - 1,
    )
    assert block < summary < last
    assert lines[block + 1].startswith("seen          The float network has accuracy ")
    assert lines[block + 2].startswith("likely cause  This run did not train the float network")
    assert lines[block + 3].startswith("set           train.warmup.epochs over 0")
    assert lines[last].startswith("WARNING ") and "at_chance: see above" in lines[last]


def test_a_healthy_run_has_no_warning(more_data, tmp_path, capsys):
    chosen = settings(more_data, "fixed", budgets={})
    chosen.train.warmup.epochs, chosen.train.finetune.epochs = 6, 4
    summary = run(tmp_path / "run", chosen)
    assert summary["accuracy"]["integer"]["val"] > 0.95 and summary["warnings"] == []
    assert "WARNING" not in capsys.readouterr().out
    assert document([read_run(tmp_path / "run")])["warnings"] == []


def test_each_point_of_a_front_has_its_own_warnings_and_figures(more_data, tmp_path):
    chosen = settings(more_data, budgets={}, front=Front(budgets={"flash_bytes": [900.0, 500.0]}))
    chosen.strategy.lr = 30.0
    summary = run(tmp_path / "run", chosen)
    assert "warnings" not in summary and len(summary["points"]) == 2
    for point in summary["points"]:
        own = json.loads((tmp_path / "run" / point["folder"] / "summary.json").read_text())
        assert own["warnings"] == point["warnings"] and "at_chance" in names(point)
    first, second = (point["warnings"][names(point).index("far_below_float")] for point in summary["points"])
    assert "strategy.epochs=8 (now 4)" in first["advice"] and "strategy.next_epochs=2 (now 1)" in second["advice"]
    for point in summary["points"]:
        assert point["stages"]["integer"] == point["accuracy"]["integer"]["val"]


@pytest.mark.slow
def test_the_experiment_on_digits_has_no_warning(composed, tmp_path):
    chosen = parse(composed("+experiment=resnet8_digits", "tensorboard=false", "train.device=cpu", "train.threads=1"))
    summary = run_in_folder(chosen, model_maker(chosen.model), tmp_path / "run")
    assert summary["accuracy"]["integer"]["test"] > 0.97 and summary["warnings"] == []
