"""From a composed configuration to settings, and back from a run folder."""

import pytest

from search.config import parse, read_config, recorded, write_config
from search.settings.strategies import FixedSettings, GradientSettings
from search.settings.tasks import ClassificationSettings

EXPERIMENT = "+experiment=mobilenet_mcu"


def test_overrides_reach_the_settings(composed):
    settings = parse(
        composed(EXPERIMENT, "strategy.epochs=3", "train.warmup.lr=1e-4", "budgets.flash_bytes=9000", "target=mpic")
    )
    assert isinstance(settings.strategy, GradientSettings) and settings.strategy.epochs == 3
    assert settings.train.warmup.lr == 1e-4
    assert settings.budgets == {"flash_bytes": 9000.0, "peak_ram_bytes": 4096.0}
    assert settings.target.name == "mpic" and settings.target.frequency_hz == 250e6


def test_costs_without_a_number_are_neither_budgets_nor_lambdas(composed):
    settings = parse(composed(EXPERIMENT, "budgets.peak_ram_bytes=null", "lambdas.macs=0.5"))
    assert settings.budgets == {"flash_bytes": 24576.0} and settings.lambdas == {"macs": 0.5}


def test_strategy_brings_its_own_settings(composed):
    settings = parse(composed("strategy=fixed", "space=precision", "strategy.weight_bits=4"))
    assert settings.strategy == FixedSettings(weight_bits=4)


@pytest.mark.parametrize("given, read", [("balanced", "balanced"), ("[1,2.5]", [1, 2.5]), ("null", None)])
def test_class_weights_are_a_word_a_list_or_nothing(composed, given, read):
    assert parse(composed(f"task.class_weights={given}")).task == ClassificationSettings(class_weights=read)


def test_a_run_folder_from_before_there_were_tasks_is_a_classification(composed, tmp_path):
    settings = parse(composed(EXPERIMENT))
    del settings.plain_values["task"]
    write_config(settings, tmp_path, "a command")
    assert "task" not in (tmp_path / "config.yaml").read_text()
    assert read_config(tmp_path).task == ClassificationSettings()


def test_run_folder_gives_its_settings_back(composed, tmp_path):
    settings = parse(composed(EXPERIMENT, "seed=7", "train.augment.cutout=0.3"))
    write_config(settings, tmp_path, "python -m search\n'name=two lines'")
    assert read_config(tmp_path) == settings
    assert (tmp_path / "config.yaml").read_text().startswith("# python -m search\n# 'name=two lines'\ndata:\n")


def test_a_storage_is_the_same_wherever_a_run_goes_on(composed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = parse(composed("strategy=tpe", "strategy.storage=sqlite:///study.db", "strategy.study=a"))
    write_config(settings, tmp_path, "a command")
    monkeypatch.chdir("/")
    assert read_config(tmp_path).strategy.storage == settings.strategy.storage == f"sqlite:///{tmp_path}/study.db"


def test_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no config\.yaml there.*Name runs/NAME/TIME"):
        read_config(tmp_path)


@pytest.mark.parametrize(
    ("overrides", "name"),
    [((), "experiment"), (("name=mine",), "mine"), ((EXPERIMENT,), "mobilenet_mcu"), ((EXPERIMENT, "name=y"), "y")],
)
def test_a_run_has_a_name_beside_its_experiment(composed, overrides, name):
    settings = parse(composed(*overrides))
    assert settings.name == settings.plain_values["name"] == name and "experiment" not in settings.plain_values


def test_an_experiment_of_an_earlier_version_names_its_runs(composed, tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment/old.yaml").write_text("# @package _global_\nexperiment: mine\n")
    found = f"hydra.searchpath=[file://{tmp_path}]"
    assert parse(composed(found, "+experiment=old")).name == "mine"
    assert parse(composed(found, "+experiment=old", "name=other")).name == "other"


def test_a_run_folder_of_an_earlier_version_has_its_name(composed, tmp_path):
    settings = parse(composed("name=mine"))
    settings.plain_values["experiment"] = settings.plain_values.pop("name")
    write_config(settings, tmp_path, "a command")
    assert recorded(tmp_path)["name"] == read_config(tmp_path).name == "mine"
