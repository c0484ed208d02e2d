"""A search from Python is the one of the command line, on what exists already."""

import json
import shutil

import numpy as np
import pytest
import torch

from search.api import compress
from search.budgets.feasibility import BudgetError
from search.config import composed, read_config
from search.data import DataError, from_arrays
from search.data.npz import NpzOptions, load_npz
from search.errors import UsageError
from search.files.run_folders import RunFolderError
from search.training.checkpoint import CheckpointError
from tests.search.small import Small, write_stripes

BUDGETS = {"flash_bytes": 500.0}
OVERRIDES = [
    *("train.warmup.epochs=1", "strategy.epochs=1", "train.finetune.epochs=1", "train.finetune.integer_epochs=1"),
    *("train.augment.flip=false", "tensorboard=false", "budgets.peak_ram_bytes=700"),
]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write_stripes(tmp_path_factory.mktemp("data") / "stripes.npz")


@pytest.fixture(scope="module")
def data(file):
    return from_arrays(dict(np.load(file)))


@pytest.fixture(scope="module")
def done(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "small"
    torch.manual_seed(0)
    model = Small()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    return folder, model, before, compress(model, data, BUDGETS, folder, OVERRIDES)


def test_budgets_of_the_call_and_of_the_overrides_are_kept(done):
    folder, _, _, summary = done
    assert summary == json.loads((folder / "summary.json").read_text())
    assert {name: b["limit"] for name, b in summary["budgets"].items()} == {"flash_bytes": 500, "peak_ram_bytes": 700}
    assert all(b["met"] for b in summary["budgets"].values())


def test_the_model_is_not_modified(done):
    _, model, before, _ = done
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_callers_torch_is_as_it_was(data, tmp_path):
    """Also where the run fails: here at a checkpoint that is damaged."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    model = Small()
    state = torch.get_rng_state()
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "checkpoints" / "warmup.pt").write_bytes(b"damaged")
    (tmp_path / "run" / "config.yaml").write_text("data: {name: arrays}\n")
    (tmp_path / "run" / "fingerprint.json").write_text("{}")
    try:
        compress(model, data, BUDGETS, tmp_path / "whole", [*OVERRIDES, "train.threads=1"])
        assert torch.get_num_threads() == 2 and torch.equal(torch.get_rng_state(), state)
        with pytest.raises(CheckpointError):
            compress(model, data, BUDGETS, tmp_path / "run", [*OVERRIDES, "train.threads=1"], resume=True)
        assert torch.get_num_threads() == 2 and torch.equal(torch.get_rng_state(), state)
    finally:
        torch.set_num_threads(before)


def test_training_starts_from_the_models_weights(done, data, tmp_path):
    torch.manual_seed(1)
    other = compress(Small(), data, BUDGETS, tmp_path / "other", OVERRIDES)
    assert other["architecture"] != done[3]["architecture"]


def test_resume_goes_on_and_otherwise_the_folder_is_refused(done, data):
    folder, model, _, summary = done
    with pytest.raises(RunFolderError, match="not empty"):
        compress(model, data, BUDGETS, folder, OVERRIDES)
    again = compress(model, data, BUDGETS, folder, OVERRIDES, resume=True)
    assert again["accuracy"] == summary["accuracy"] and again["architecture"] == summary["architecture"]


@pytest.mark.parametrize("holds", [(), ("something_else.txt",)])
def test_resume_where_no_run_has_begun_is_refused_and_writes_nothing(data, tmp_path, holds):
    for name in holds:
        (tmp_path / name).write_text("")
    with pytest.raises(RunFolderError, match=r"no config\.yaml there.* Start one with resume=False"):
        compress(Small(), data, BUDGETS, tmp_path, OVERRIDES, resume=True)
    assert [path.name for path in tmp_path.iterdir()] == list(holds)


def test_a_folder_that_was_renamed_is_gone_on_with(done, data, tmp_path):
    folder, model, _, summary = done
    shutil.copytree(folder, tmp_path / "renamed")
    again = compress(model, data, BUDGETS, tmp_path / "renamed", OVERRIDES, resume=True)
    assert again["experiment"] == "small" and again["architecture"] == summary["architecture"]


def test_other_arguments_than_a_run_began_with_are_refused_by_name(done, data):
    folder, model, _, _ = done
    with pytest.raises(RunFolderError, match=r"budgets was \{'flash_bytes': 500.0, .*, is \{'flash_bytes': 900.0"):
        compress(model, data, {"flash_bytes": 900.0}, folder, OVERRIDES, resume=True)
    with pytest.raises(RunFolderError, match="the first weights differ"):
        compress(Small(), data, BUDGETS, folder, OVERRIDES, resume=True)


def test_the_command_line_cannot_resume_data_that_it_never_had(done):
    with pytest.raises(ValueError, match=r"its data was given in Python.*resume=True"):
        read_config(done[0])


def test_unknown_cost_is_refused_before_anything_is_trained(data, tmp_path):
    with pytest.raises(BudgetError, match="no cost model 'flash_kb'"):
        compress(Small(), data, {"flash_kb": 1}, tmp_path / "run", OVERRIDES)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "strategy.epoch=3",
            r"strategy\.epoch: with strategy=gradient there is no such key\. There are strategy\.epochs,",
        ),
        ("+train.warmup.x=3", r"train\.warmup\.x: there is no such key"),
        ("seed=one", "seed: Value 'one' of type 'str' could not be converted to Integer"),
        ("task=detection", "task=detection: there is no such option"),
    ],
)
def test_an_override_with_a_typo_is_an_error_of_ours(data, tmp_path, override, message):
    with pytest.raises(UsageError, match=message):
        compress(Small(), data, BUDGETS, tmp_path / "run", [override])
    assert not list(tmp_path.iterdir())


def test_settings_are_those_of_the_command_line():
    settings = composed(["target=mpic", "strategy.epochs=3"])
    assert settings.target.name == "mpic" and settings.strategy.epochs == 3


def test_arrays_are_read_as_a_file_of_them_is(file, data):
    read = load_npz(NpzOptions(str(file)))
    for split in ("train", "val", "test"):
        assert torch.equal(read.split(split).images, data.split(split).images)
        assert torch.equal(read.split(split).targets, data.split(split).targets)
    assert (read.classes, read.mean, read.std) == (data.classes, data.mean, data.std)


def test_arrays_that_cannot_be_used_are_refused():
    with pytest.raises(DataError, match="arrays: holds x_train; x_train and y_train are needed"):
        from_arrays({"x_train": np.zeros((4, 1, 8, 8))})
