"""From a composed configuration to settings, and back from a run folder."""

from dataclasses import replace

import pytest
import yaml

from search.config import ConfigError, parse, read_config, recorded, write_config
from search.errors import UsageError
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
    plain = settings.plain_values | {"folder": str(tmp_path)}
    assert read_config(tmp_path) == replace(settings, folder=str(tmp_path), plain_values=plain)
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


@pytest.mark.parametrize(
    "key", ["space.weight_bits", "space.exclude", "front.flash_bytes", "target.weight_bits", "costs"]
)
def test_a_list_of_lists_is_refused_by_name(composed, key):
    with pytest.raises(UsageError, match=rf"{key} is \[\[1\]\]; allowed: a list of numbers or of texts"):
        parse(composed(f"{key}=[[1]]"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda config: config.update(strategy=["x"]), r"strategy is \['x'\], not an object"),
        (lambda config: config.update(data={"file": "x"}), r"data is \{'file': 'x'\}, not \{name: text\}"),
        (lambda config: config.update(data=3), "data is 3, not"),
        (lambda config: config.update(budgets=7), "budgets is 7, not an object"),
        (lambda config: config.update(experiment=5), "experiment is 5, not text"),
        (lambda config: config["train"].update(threads="many"), "threads is 'many', not a whole"),
        (lambda config: config["train"].update(threads=-1), r"train\.threads is -1; allowed: 1 to 1024"),
        (lambda config: config["train"].update(batch_size=[1]), "batch_size"),
        (lambda config: config["train"]["warmup"].update(lr="fast"), "lr"),
        (lambda config: config["space"].update(widht=1), "widht"),
        (lambda config: config["target"].update(flash_bytes="much"), "flash_bytes"),
        (lambda config: config["target"]["cycles_per_element"].update(add=10**400), "too large"),
        (lambda config: config.update(seed="${seed}"), "nterpolation"),
        (lambda config: config.pop("strategy"), "strategy"),
        (lambda config: config["strategy"].update(name="evolutio"), r"there is no 'evolutio'\. Choose one of"),
    ],
)
def test_a_configuration_of_another_form_is_refused_by_name(composed, tmp_path, change, message):
    write_config(parse(composed(EXPERIMENT)), tmp_path, "a command")
    path = tmp_path / "config.yaml"
    config = yaml.safe_load(path.read_text())
    change(config)
    path.write_text(yaml.safe_dump(config))
    with pytest.raises(
        ConfigError, match=rf"config\.yaml is damaged: .*{message}.*Restore it, or start a new run\.$"
    ) as said:
        read_config(tmp_path)
    assert ".. " not in str(said.value)


@pytest.mark.parametrize("content", [b"data: {name: \xff}", b"data:\n\t- x", b"when: 2024-99-99", b"[" * 5000, b"- 1"])
def test_a_configuration_that_is_no_yaml_of_keys_is_refused_by_name(tmp_path, content):
    (tmp_path / "config.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"config\.yaml is damaged: "):
        read_config(tmp_path)


def test_an_empty_name_is_refused(composed):
    with pytest.raises(UsageError, match="name is ; allowed: the name of a folder"):
        parse(composed("name="))


def test_an_empty_folder_is_refused(composed):
    with pytest.raises(UsageError, match=r"folder is ; allowed: a path; runs/NAME/TIME where folder is left out"):
        parse(composed("folder="))
