"""Parameters that a model froze stay as they are, whatever is trained, pruned or exported; a run says so."""

import numpy as np
import pytest
import torch
from torch import nn

from search.api import compress
from search.data import from_arrays
from search.errors import UsageError
from spaces.searchable import Options, searchable
from spaces.space import Space

SHORT = ["train.warmup.epochs=1", "train.finetune.epochs=2", "train.finetune.integer_epochs=1"]


@pytest.fixture(scope="module")
def stripes(data):
    return from_arrays(dict(np.load(data)))


def network() -> nn.Sequential:
    torch.manual_seed(0)
    first = [nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()]
    rest = [nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)]
    return nn.Sequential(*first, *rest)


def test_frozen_parameters_are_those_of_the_model_in_what_is_exported(stripes, tmp_path, capsys):
    model = network()
    model[0].requires_grad_(False)
    model[1].weight.requires_grad_(False)
    model[7].bias.requires_grad_(False)
    compress(
        model, stripes, {"flash_bytes": 700}, tmp_path / "run", [*SHORT, "strategy.epochs=1", "space.exclude=['0']"]
    )
    assert "frozen: 0, 7, 1: their float parameters stay as they are" in capsys.readouterr().out
    found = Space.load(tmp_path / "run" / "model.safetensors")
    assert torch.equal(found.weights["0"].weight, model[0].weight) and torch.equal(
        found.weights["0"].bias, model[0].bias
    )
    assert torch.equal(found.norms["1"].weight, model[1].weight)
    assert torch.equal(found.weights["7"].bias, model[7].bias)
    assert found.frozen() == ["0", "7", "1"]  # and stay so when the file is trained on
    assert not torch.equal(found.norms["1"].bias, model[1].bias)
    assert found.weights["7"].weight.shape[1] < 8 or not torch.equal(found.weights["7"].weight, model[7].weight)


def test_the_steps_of_frozen_weights_learn():
    model = network().requires_grad_(False)
    space = searchable(model, torch.randn(4, 1, 8, 8), Options(weight_bits=(4,)))
    learning = [name for name, p in space.named_parameters() if p.requires_grad]
    assert learning and all(name.endswith("log_step") for name in learning)


def test_a_warm_up_of_a_frozen_network_is_refused(stripes, tmp_path):
    with pytest.raises(UsageError, match=r"all its parameters are frozen.*train\.warmup\.epochs=0"):
        compress(network().requires_grad_(False), stripes, {}, tmp_path / "run", SHORT)
    assert not (tmp_path / "run").exists()


def test_a_frozen_network_is_quantized_without_warm_up(stripes, tmp_path):
    model = network().requires_grad_(False)
    compress(model, stripes, {}, tmp_path / "run", [*SHORT, "train.warmup.epochs=0", "strategy=fixed"])
    found = Space.load(tmp_path / "run" / "model.safetensors")
    assert torch.equal(found.weights["3"].weight, model[3].weight)
