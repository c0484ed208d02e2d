"""Values that are given in Python are of any kind: what cannot be used is refused by name, and leaves no folder."""

import json

import numpy as np
import pytest

from search.api import compress
from search.data import DataError, from_arrays
from search.errors import PicojouleError
from tests.search.small import Small

SHORT = [
    *("train.warmup.epochs=0", "strategy=fixed", "train.finetune.epochs=0", "train.finetune.integer_epochs=0"),
    *("tensorboard=false", "train.device=cpu"),
]


@pytest.fixture(scope="module")
def arrays(data):
    return dict(np.load(data))


@pytest.mark.parametrize("limit", [np.int64(5000), np.float32(5000), np.uint16(5000), 5000], ids=lambda x: str(type(x)))
def test_a_number_of_numpy_is_a_budget(arrays, tmp_path, limit):
    compress(Small(), from_arrays(arrays), {"flash_bytes": limit}, tmp_path / "run", SHORT)
    assert json.loads((tmp_path / "run/summary.json").read_text())["budgets"]["flash_bytes"]["limit"] == 5000
    assert "flash_bytes: 5000.0" in (tmp_path / "run/config.yaml").read_text()


REFUSED = [
    ({"budgets": {"flash_bytes": "500"}}, r"budgets\.flash_bytes is '500'; allowed: a number"),
    ({"budgets": {"flash_bytes": None}}, r"budgets\.flash_bytes is None; allowed: a number"),
    ({"budgets": {"flash_bytes": True}}, r"budgets\.flash_bytes is True"),
    ({"budgets": {"flash_bytes": np.ones(2)}}, r"budgets\.flash_bytes is array"),
    ({"budgets": {"flash_bytes": float("nan")}}, r"'flash_bytes': nan\}: must be finite and over 0"),
    ({"budgets": {"flash_bytes": 10**400}}, r"'flash_bytes': inf\}: must be finite and over 0"),
    ({"budgets": {1: 500}}, "no cost model '1'"),
    ({"budgets": None}, "budgets is None; allowed: limits by cost"),
    ({"budgets": ["flash_bytes"]}, r"budgets is \['flash_bytes'\]"),
    ({"model": Small}, "model is <class .*allowed: an nn.Module, not its class"),
    ({"model": "Small"}, "model is 'Small'"),
    ({"data": None}, "data is None; allowed: what search.data.from_arrays returns"),
    ({"folder": None}, "folder is None; allowed: a path"),
    ({"folder": ""}, "folder is ''; allowed: a path"),
    ({"overrides": "seed=1"}, "overrides is 'seed=1'; allowed: a list of texts"),
    ({"resume": "yes"}, "resume is 'yes'; allowed: True or False"),
    ({"overrides": [1]}, "overrides is 1; allowed: texts"),
    ({"overrides": ["seed=-1"]}, r"seed is -1; allowed: 0 to"),
    ({"overrides": ["train.threads=-1"]}, r"train\.threads is -1; allowed: 1 to 1024"),
    ({"overrides": ["train.device=gpu"]}, r"train\.device is gpu; allowed: auto, cpu, cuda"),
    (
        {"overrides": ["train.warmup.weight_decay=1e9"]},
        r"train\.warmup\.weight_decay is 1000000000\.0; allowed",
    ),
    ({"overrides": ["train.finetune.weight_decay=nan"]}, r"train\.finetune\.weight_decay is nan; allowed: 0 to 1"),
    ({"overrides": ["strategy.weight_decay=2"]}, r"strategy\.weight_decay is 2\.0; allowed: 0 to 1"),
    ({"overrides": ["strategy.pattern_decay=-1"]}, r"strategy\.pattern_decay is -1\.0; allowed: 0 to 1"),
    ({"overrides": ["lambdas.macs=nan"]}, r"'macs': nan\}: must be finite and over 0"),
    (
        {"overrides": ["data=digits"]},
        "overrides, 'data=digits': data is an argument of compress. Give it other data, and",
    ),
    (
        {"overrides": ["++data.file=x.npz"]},
        "data.file=x.npz': data is an argument of compress. Give it other data, and",
    ),
    ({"overrides": ["data.mean=[0]"]}, r"Give mean= to search\.data\.from_arrays, and leave this override out"),
    ({"overrides": ["data={std: [1]}"]}, r"Give std= to search\.data\.from_arrays"),
    ({"overrides": ["seed=1", "model=resnet8"]}, "'model=resnet8': model is an argument of compress. Give it another"),
    ({"overrides": ["model.width=2"]}, r"'model\.width=2': model is an argument of compress"),
    ({"overrides": ["folder=zz"]}, "'folder=zz': folder is an argument of compress. Give it another path"),
    ({"overrides": ["name=mine"]}, "'name=mine': a run from Python has the name of its folder. Give compress another"),
    ({"overrides": ["resume=runs/zz"]}, "'resume=runs/zz': resume is an argument of compress. Give it True"),
    (
        {"overrides": ["budgets.flash_bytes=120"]},
        r"'budgets\.flash_bytes=120': the argument budgets of compress has flash_bytes=500\. Give the limit once",
    ),
    ({"overrides": ["budgets={macs: 9, flash_bytes: 120}"]}, "the argument budgets of compress has flash_bytes=500"),
    ({"overrides": ["budgets.flash_bytes=null"]}, "the argument budgets of compress has flash_bytes=500"),
]


@pytest.mark.parametrize(("given", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_what_is_no_argument_is_refused_by_name_and_leaves_no_folder(arrays, tmp_path, given, message):
    call = {"model": Small(), "data": from_arrays(arrays), "budgets": {"flash_bytes": 500}, "folder": tmp_path / "run"}
    with pytest.raises(PicojouleError, match=message):
        compress(**call | given)
    assert not list(tmp_path.iterdir())


def test_a_limit_may_be_given_twice_and_an_experiment_gives_way_to_the_arguments(arrays, tmp_path):
    overrides = ["+experiment=resnet8_digits", "budgets.flash_bytes=5000", *SHORT, "space=joint"]
    compress(Small(), from_arrays(arrays), {"flash_bytes": 5000, "peak_ram_bytes": 7000}, tmp_path / "run", overrides)
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert {name: limit["limit"] for name, limit in summary["budgets"].items()} == {
        "flash_bytes": 5000,
        "peak_ram_bytes": 7000,
    }


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({}, {"classes": "4"}, r"data\.classes is '4'; allowed: a whole number from 1 to 65536, or null"),
        ({}, {"classes": -1}, r"data\.classes is -1"),
        ({}, {"classes": 10**9}, r"data\.classes is 1000000000"),
        ({}, {"has_channels": "yes"}, r"data\.has_channels is 'yes'; allowed: true, false or null"),
        ({}, {"channels_last": 3}, r"data\.channels_last is 3"),
        ({"x_train": [[1, 2], [3]]}, {}, "arrays, x_train: is no array .*inhomogeneous"),
        ({"x_train": None}, {}, "arrays, x_train: object array"),
        ({"y_train": None}, {}, "arrays, y_train: object targets"),
        ({1: np.zeros(3), "y_val": None}, {}, "y_val"),
    ],
)
def test_arrays_and_options_of_another_kind_are_refused_by_name(arrays, changes, options, message):
    with pytest.raises(DataError, match=message):
        from_arrays(arrays | changes, **options)


@pytest.mark.parametrize("given", [None, "x_train", [1, 2]])
def test_arrays_without_names_are_refused(given):
    with pytest.raises(DataError, match=r"arrays are .*; allowed: arrays by name"):
        from_arrays(given)


def test_a_number_of_classes_of_numpy_is_taken(arrays):
    assert len(from_arrays(arrays, classes=np.int64(4)).classes) == 4
