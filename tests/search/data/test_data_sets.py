"""The register of data sets, its YAML files, and the digits."""

import sys
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from search.data import DATA_SETS, OPTIONS, DataError, load
from search.data.digits import DigitsOptions

CONF = Path(__file__).parents[3] / "conf" / "data"


def test_every_data_set_has_a_loader_options_and_a_yaml():
    assert set(DATA_SETS) == set(OPTIONS) == {path.stem for path in CONF.glob("*.yaml")}


@pytest.mark.parametrize("name", OPTIONS)
def test_yaml_fills_the_options(name):
    values = OmegaConf.load(CONF / f"{name}.yaml")
    assert values.pop("defaults") == [f"/data_{name}_schema@_here_", "_self_"]
    merged = OmegaConf.merge(OmegaConf.structured(OPTIONS[name]), values)
    for key in OmegaConf.missing_keys(merged):
        merged[key] = "somewhere"
    options = OmegaConf.to_object(merged)
    assert isinstance(options, OPTIONS[name]) and options.name == name
    assert set(values) == set(vars(options))


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(
        DataError, match="no data set 'digit'; choose one of audio_folder, cifar10, csv, digits, fashion_mnist"
    ):
        load(DigitsOptions(name="digit"))


def test_digits():
    pytest.importorskip("sklearn")
    data = load(DigitsOptions())
    assert data.input_shape == (1, 8, 8) and data.train.images.dtype == torch.float32
    assert len(data.train) + len(data.val) + len(data.test) == 1797
    assert data.train.images.min() == 0 and data.train.images.max() == 1


def test_digits_without_scikit_learn_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(DataError, match="pip install scikit-learn"):
        load(DigitsOptions())
