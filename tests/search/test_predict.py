"""What a run states is what its program says of raw examples, as a camera gives them."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from search.api import compress
from search.data import from_arrays
from search.data.sound import FrontEndOptions
from search.integer.executor import Executor
from search.integer.program import Program
from tests.search.data.tones import RATE, SAMPLES, arrays

SHORT = ["strategy=fixed", "train.warmup.epochs=12", "train.finetune.epochs=1", "train.finetune.integer_epochs=1"]
RNG = np.random.default_rng(0)


def network(channels: int) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(channels, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)),
    )


def photos(count: int, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, 10, 12, channels) or (n, 10, 12), uint8: the brighter, the higher the class."""
    labels = np.arange(count) % 3
    images = RNG.integers(0, 120, (count, 10, 12, channels)) + 60 * labels[:, None, None, None]
    return images.astype(np.uint8)[..., 0] if channels == 1 else images.astype(np.uint8), labels


@pytest.mark.parametrize("channels, given", [(3, {}), (1, {}), (3, {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]})])
def test_accuracy_is_that_of_raw_photos(tmp_path, channels, given):
    (train, train_labels), (test, test_labels) = photos(96, channels), photos(60, channels)
    arrays = {"x_train": train, "y_train": train_labels, "x_test": test, "y_test": test_labels}
    data = from_arrays(arrays, channels_last=channels > 1 or None, **given)
    summary = compress(network(channels), data, {}, tmp_path / "run", SHORT)
    program = Program.load(tmp_path / "run" / "program.safetensors")
    found = Executor(program).predict(test)
    assert (found == test_labels).mean() == summary["accuracy"]["integer"]["test"] > 0.6
    assert program.classes == ("0", "1", "2") == tuple(summary["classes"]["names"])
    written = json.loads((tmp_path / "run" / "summary.json").read_text())["input"]
    assert written["shape"] == list(test.shape[1:]) and written["dtype"] == "uint8"
    assert written["takes_bytes"] is (not given)
    if not given:  # the first layer reads the photo itself
        first_tensor = program.tensors[program.inputs[0]]
        codes = np.moveaxis(test, -1, 1) if channels > 1 else test[:, None]
        assert (first_tensor.bits, codes.shape[1:]) == (8, first_tensor.shape)
        assert (Executor(program)(np.ascontiguousarray(codes)).argmax(1) == found).all()


@pytest.mark.parametrize("layout", ["image", "sequence"])
def test_accuracy_is_that_of_raw_sounds(tmp_path, layout):
    given = arrays()
    data = from_arrays(given, rate=RATE, frontend=FrontEndOptions("log_mel", bins=12, layout=layout))
    net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(720, 2))
    if layout == "sequence":
        net = nn.Sequential(nn.Conv1d(12, 8, 3), nn.BatchNorm1d(8), nn.ReLU(), nn.Flatten(), nn.Linear(72, 2))
    summary = compress(net, data, {}, tmp_path / "run", [*SHORT, "train.batch_size=8"])
    program = Program.load(tmp_path / "run" / "program.safetensors")
    found = Executor(program).predict(given["x_test"])
    assert (found == given["y_test"]).mean() == summary["accuracy"]["integer"]["test"] == 1
    written = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert written["input"]["shape"] == [SAMPLES] and written["input"]["dtype"] == "int16"
    assert written["input"]["takes_bytes"] and written["input"]["frontend"]["bins"] == 12
    assert {written["mismatches"][name] for name in ("numpy", "onnx", "c") if name in written["mismatches"]} == {0}
    assert "the network reads 12 log-mel filters" in (tmp_path / "run" / "run.log").read_text()
