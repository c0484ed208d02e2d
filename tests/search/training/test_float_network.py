"""The float network of another run is taken over: same accuracy, counted epochs, and refused where it does not fit."""

import json

import pytest

from search.settings.run import SpaceSettings
from search.training.checkpoint import CheckpointError
from search.training.ledger import Ledger
from tests.search.small import Small, prepared, run, settings, write_stripes


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    folder = tmp_path_factory.mktemp("first")
    data = write_stripes(folder / "d.npz", count=160)
    return data, folder / "run", run(folder / "run", settings(data))


def taking(data, source, **changes):
    config = settings(data, **changes)
    config.train.warmup.source = str(source)
    return config


def test_another_space_starts_from_the_same_float_network(first, tmp_path, monkeypatch):
    data, source, summary = first
    space = SpaceSettings(weight_bits=[2, 4, 8], activation_bits=[4, 8])
    config = taking(data, source, space=space, budgets={"flash_bytes": 700})
    config.target.activation_bits = (4, 8)
    restored, original = [], Ledger.restore
    monkeypatch.setattr(Ledger, "restore", lambda self, seconds: (restored.append(seconds), original(self, seconds)))
    other = run(tmp_path / "run", config)
    assert sum(restored) == summary["seconds"]["warmup"]  # once
    assert other["accuracy"]["float"] == summary["accuracy"]["float"]
    assert other["epochs"]["warmup"] == summary["epochs"]["warmup"]
    assert other["seconds"]["warmup"] == summary["seconds"]["warmup"]
    assert json.loads((tmp_path / "run" / "architecture.json").read_text())["space"] == "small"


def test_a_float_network_of_another_shape_or_none_is_refused(first, tmp_path):
    data, source, _ = first
    with pytest.raises(CheckpointError, match=r"warmup\.pt is of another network; .*norms.norm1.bias"):
        prepared(tmp_path / "run", taking(data, source), lambda: Small(channels=6))
    with pytest.raises(CheckpointError, match=r"warmup\.pt is not there, so there is no float network to take over"):
        prepared(tmp_path / "run", taking(data, tmp_path / "nowhere"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("strategy", ["gradient", "fixed", "magnitude", "random"])
def test_its_epochs_count_in_a_limit_and_not_those_that_are_set(first, tmp_path, strategy):
    data, source, summary = first
    config = taking(data, source, strategy=strategy)
    config.train.warmup.epochs = 1
    if strategy == "gradient":
        config.strategy.epochs = None
    if strategy == "magnitude":
        config.space.weight_bits, config.budgets = [0, 8], {"flash_bytes": 700}
    config.limits.epochs = summary["epochs"]["warmup"] + 5
    config.train.finetune.epochs, config.train.finetune.integer_epochs = 2, 1
    total = run(tmp_path / "run", config)["epochs"]["total"]
    assert config.limits.epochs - 1 < total <= config.limits.epochs  # candidates may leave less than an epoch
