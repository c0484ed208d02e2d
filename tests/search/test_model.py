"""The seed network from settings: what is made, and that nothing else is called or even imported."""

import sys
from traceback import extract_tb

import pytest
import torch
from torch import nn

from search.data import Data, Split
from search.errors import UsageError
from search.model import model_maker
from spaces.networks import MobileNetV1


@pytest.fixture
def data():
    split = Split(torch.zeros(6, 2, 8, 8), torch.arange(6))
    return Data("made", split, split, split, tuple("abcdef"), (0.0, 0.0), (1.0, 1.0))


def test_model_is_given_channels_and_classes_of_the_data(data):
    model = model_maker({"_target_": "spaces.networks.MobileNetV1", "width": 0.1})(data)
    assert isinstance(model, MobileNetV1)
    assert model(torch.zeros(2, 2, 8, 8)).shape == (2, 6)


def test_model_may_ask_for_other_channels_than_the_data_has(data):
    model = model_maker({"_target_": "spaces.networks.MobileNetV1", "in_channels": 3, "width": 0.1})(data)
    assert model.stem[0].in_channels == 3


@pytest.mark.parametrize(
    "model, message",
    [
        ({"width": 1}, "no '_target_'"),
        ({"_target_": "no.such.Net"}, r"'no\.such\.Net': cannot be imported"),
        ({"_target_": "spaces.networks.MobileNetV1", "widht": 1}, r"\['widht'\] not taken.*it takes \['classes'"),
        ({"_target_": "spaces.networks.MobileNetV1", "strides": [1]}, "strides has 1 entries"),
    ],
)
def test_model_that_cannot_be_made_is_refused(data, model, message):
    with pytest.raises(ValueError, match=message):
        model_maker(model)(data)


@pytest.mark.parametrize(
    ("source", "line", "cause"),
    [
        ("import torch\n\nclass Net(torch.nn.Module):\n    def __init__(self):\n        1 / 0\n", 5, ZeroDivisionError),
        ("a = 1\nb = a.c\n", 2, AttributeError),
        ("import no_such_package\n", 1, ModuleNotFoundError),
        ("def f(:\n    pass\n", None, SyntaxError),
    ],
)
def test_an_error_in_the_users_module_is_the_cause_that_is_shown(data, tmp_path, monkeypatch, source, line, cause):
    name = f"module_with_{cause.__name__.lower()}"
    (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UsageError) as refused:
        model_maker({"_target_": f"{name}.Net"})(data)
    found = refused.value.__cause__
    assert refused.value.shows_cause and type(found) is cause
    lines = [frame.lineno for frame in extract_tb(found.__traceback__) if frame.filename.endswith(f"{name}.py")]
    assert lines[-1:] == ([] if line is None else [line])


@pytest.mark.parametrize("target", ["no.such.Net", "nonsense", "spaces.networks.NoSuchNet", "spaces.nothing.Net"])
def test_a_class_that_is_not_found_is_no_error_of_the_users_code(data, target):
    with pytest.raises(UsageError, match="cannot be imported") as refused:
        model_maker({"_target_": target})(data)
    assert not refused.value.shows_cause


SEQUENCE = "torch.nn.Sequential"


def test_networks_are_made_of_networks(data):
    inner = {"_target_": SEQUENCE, "_args_": [{"_target_": "torch.nn.ReLU", "inplace": True}]}
    made = model_maker({"_target_": SEQUENCE, "_args_": [inner, {"_target_": "torch.nn.Flatten"}]})(data)
    assert isinstance(made[0][0], nn.ReLU) and made[0][0].inplace and isinstance(made[1], nn.Flatten)


def write_module(folder, monkeypatch, name, text):
    (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, name, raising=False)


MAKERS = """
from torch import nn
CALLED = []
def annotated(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(width, 2))
def silent(width):
    CALLED.append(width)
class Other:
    def __init__(self, **arguments):
        CALLED.append(arguments)
"""


def test_a_function_makes_a_network_if_it_says_so(data, tmp_path, monkeypatch):
    write_module(tmp_path, monkeypatch, "makers", MAKERS)
    assert isinstance(model_maker({"_target_": "makers.annotated", "width": 4})(data), nn.Sequential)
    for name in ("silent", "Other"):
        with pytest.raises(UsageError, match=rf"model._target_ 'makers\.{name}': is no network, so it is not called"):
            model_maker({"_target_": f"makers.{name}", "width": 4})(data)
    assert sys.modules["makers"].CALLED == []


@pytest.mark.parametrize(
    "name",
    [
        *("torch.load", "torch.hub.load", "torch.jit.load", "shutil.copy", "os.system", "builtins.eval"),
        *("subprocess.run", "pickle.loads", "importlib.import_module"),
    ],
)
@pytest.mark.parametrize("where", ["layer", "deep", "model"])
def test_what_is_no_network_is_refused_before_anything_is_imported(tmp_path, monkeypatch, name, where):
    write_module(tmp_path, monkeypatch, "innocent", "from torch import nn\nclass Net(nn.Identity):\n    pass\n")
    bad = {"_target_": name, "_args_": ["x"]}
    places = {
        "model": (bad, "model._target_"),
        "layer": ({"_target_": "innocent.Net", "_args_": [bad]}, r"model\._args_\.0\._target_"),
        "deep": ({"_target_": "innocent.Net", "a": {"b": [1, {"c": bad}]}}, r"model\.a\.b\.1\.c\._target_"),
    }
    described, place = places[where]
    with pytest.raises(UsageError, match=rf"^{place} '{name}': is no network, and nothing else is made"):
        model_maker(described)
    assert "innocent" not in sys.modules


@pytest.mark.parametrize("name", ["numpy.load", "search.api.compress", "torch.nn.functional.relu", "hydra.utils.call"])
def test_other_functions_are_not_called(data, name):
    with pytest.raises(UsageError, match="is no network, so it is not called"):
        model_maker({"_target_": SEQUENCE, "_args_": [{"_target_": name, "_args_": ["x"]}]})(data)


@pytest.mark.parametrize("key", ["_partial_", "_recursive_", "_convert_"])
def test_other_keys_of_hydra_are_refused(data, key):
    with pytest.raises(UsageError, match=rf"model: \['{key}'\] not taken by torch\.nn\.Sequential"):
        model_maker({"_target_": SEQUENCE, key: True})(data)


@pytest.mark.parametrize("name", [None, 3, ["torch.nn.ReLU"], ""])
def test_a_target_that_is_no_name_is_refused(name):
    with pytest.raises(UsageError, match=r"model\._target_ "):
        model_maker({"_target_": name})
