"""A run goes on with what it began with, wherever that lies; anything else is refused and named."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from search import data as data_sets
from search.files.run_folders import RunFolderError
from search.training import fingerprint
from search.training.fingerprint import FINGERPRINT_FILE
from tests.search.small import Small, prepared, run, settings, write_stripes


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_stripes(tmp_path_factory.mktemp("data") / "d.npz", count=160)


@pytest.fixture(scope="module")
def done(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "whole"
    return folder, run(folder, settings(data, "fixed"))


def test_places_device_and_what_is_only_shown_do_not_matter(done, data, tmp_path):
    moved = shutil.copy(data, tmp_path / "elsewhere.npz")
    shutil.copytree(done[0], tmp_path / "moved")
    chosen = replace(settings(moved, "fixed"), folder=str(tmp_path / "moved"))
    chosen.train.threads = 1
    again = run(tmp_path / "moved", chosen)
    assert again["architecture"] == done[1]["architecture"] and again["accuracy"] == done[1]["accuracy"]


def changed_settings(chosen):
    chosen.train.finetune.lr = 0.5


def changed_seed(chosen):
    chosen.seed = 3


def changed_budget(chosen):
    chosen.budgets = {"flash_bytes": 4000}


@pytest.mark.parametrize(
    "change, message",
    [
        (changed_settings, r"train\.finetune\.lr was 0\.036, is 0\.5\. Go on with what it began with"),
        (changed_seed, r"the first weights differ; seed was 0, is 3"),
        (changed_budget, r"budgets was \{\}, is \{'flash_bytes': 4000\}"),
    ],
)
def test_other_settings_are_named_with_both_values(done, data, change, message):
    before = (done[0] / "history.jsonl").read_bytes()
    chosen = settings(data, "fixed")
    change(chosen)
    with pytest.raises(RunFolderError, match=message):
        run(done[0], chosen)
    assert (done[0] / "history.jsonl").read_bytes() == before


def test_another_network_and_other_data_are_named(done, tmp_path):
    other = settings(write_stripes(tmp_path / "other.npz", count=160, seed=1), "fixed")
    with pytest.raises(RunFolderError, match=r"began as another experiment: the data differ; data's mean was \["):
        run(done[0], other)
    named = r"the network differs; the first weights differ; seed network's flash_bytes"
    with pytest.raises(RunFolderError, match=named):
        run(done[0], other, lambda: Small(channels=6))


def test_one_changed_pixel_is_other_data_and_no_other_network(tmp_path):
    """The grid of an input of bytes comes of the mean and deviation of all pixels, which the pixel changes."""
    arrays = dict(np.load(write_stripes(tmp_path / "floats.npz", count=40)))
    for name in ("x_train", "x_val", "x_test"):
        arrays[name] = (arrays[name] * 20 + 128).clip(0, 255).astype(np.uint8)
    found = []
    for file in ("before.npz", "after.npz"):
        np.savez(tmp_path / file, **arrays)
        found.append(prepared(tmp_path / "run", settings(tmp_path / file, "fixed")).fingerprint)
        arrays["x_train"][3, 0, 0, 0] ^= 255
    differing = {name for name in found[0] if found[0][name] != found[1][name]}
    assert "data" in differing and differing <= {"data", "data's mean", "data's std"}


class Clipped(Small):
    """The same weights, with another activation."""

    def forward(self, x):
        x = functional.relu6(self.norm1(self.conv1(x)))
        return self.head(torch.relu(self.conv2(x)).mean((2, 3)))


def test_a_network_with_the_same_weights_and_another_activation_is_refused(done, data):
    with pytest.raises(RunFolderError, match=r"began as another experiment: the network differs\. Go on"):
        run(done[0], settings(data, "fixed"), Clipped)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": ("a", "b", "c", "d")}, r"data's classes was \['0', '1', '2', '3'\], is \['a', 'b', 'c', 'd'\]"),
        ({"mean": (7.0,)}, r"data's mean was \[.*\], is \[7\.0\]"),
        ({"std": (7.0,)}, r"data's std was \[.*\], is \[7\.0\]"),
    ],
)
def test_other_classes_and_another_normalisation_of_the_same_images_are_refused(done, data, change, message):
    given = settings(data, "fixed")
    other = replace(given, data=replace(data_sets.load(given.data), **change))
    with pytest.raises(RunFolderError, match=f"began as another experiment: {message}. Go on"):
        run(done[0], other)


def changed_epochs(chosen):
    chosen.train.warmup.epochs = 3


def changed_limit(chosen):
    chosen.limits.epochs = 50


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed_epochs, r"train\.warmup\.epochs was 2, is 3\. Go on"),
        (changed_limit, r"limits\.epochs was None, is 50\. Go on"),
    ],
)
def test_another_length_is_named(done, data, change, message):
    chosen = settings(data, "fixed")
    change(chosen)
    with pytest.raises(RunFolderError, match=message):
        run(done[0], chosen)


def test_trained_weights_in_place_of_drawn_ones_are_named(done, data):
    model = Small()
    torch.nn.init.ones_(model.head.bias)
    with pytest.raises(RunFolderError, match=r"as another experiment: the first weights differ\. Go on"):
        run(done[0], settings(data, "fixed"), lambda: model)


def test_a_version_that_trains_in_another_way_cannot_go_on(done, data, monkeypatch):
    monkeypatch.setattr(fingerprint, "CHECKPOINTS", fingerprint.CHECKPOINTS + 1)
    with pytest.raises(RunFolderError, match=r"another form \(3, this one has 4\), so only that version can go on"):
        run(done[0], settings(data, "fixed"))


def test_a_run_of_a_version_that_did_not_write_of_the_network_goes_on(done, data, tmp_path):
    shutil.copytree(done[0], tmp_path / "old")
    path = tmp_path / "old" / FINGERPRINT_FILE
    known = json.loads(path.read_text())
    for name in ("network's layers", "data's classes", "data's mean", "data's std"):
        del known[name]
    path.write_text(json.dumps(known))
    assert run(tmp_path / "old", settings(data, "fixed"))["architecture"] == done[1]["architecture"]


def test_checkpoints_of_which_nothing_says_what_they_are_of_are_not_gone_on_with(done, data, tmp_path):
    shutil.copytree(done[0], tmp_path / "old")
    (tmp_path / "old" / FINGERPRINT_FILE).unlink()
    with pytest.raises(RunFolderError, match=r"it has checkpoints and no fingerprint\.json.*Restore that file"):
        run(tmp_path / "old", settings(data, "fixed"))
    shutil.rmtree(tmp_path / "old" / "checkpoints")
    assert run(tmp_path / "old", settings(data, "fixed"))["architecture"] == done[1]["architecture"]


def test_names_that_another_version_wrote_are_not_compared(done, data, tmp_path):
    shutil.copytree(done[0], tmp_path / "other")
    path = tmp_path / "other" / FINGERPRINT_FILE
    known = json.loads(path.read_text())
    del known["train.batch_size"]
    path.write_text(json.dumps(known | {"train.of_another_version": 1}))
    assert run(tmp_path / "other", settings(data, "fixed"))["architecture"] == done[1]["architecture"]


def test_a_damaged_fingerprint_is_named(done, data, tmp_path):
    shutil.copytree(done[0], tmp_path / "damaged")
    (tmp_path / "damaged" / FINGERPRINT_FILE).write_text("{")
    with pytest.raises(RunFolderError, match=r"fingerprint\.json: is no JSON .*Restore it, or start a new run"):
        run(tmp_path / "damaged", settings(data, "fixed"))


def test_it_holds_plain_values_and_digests_alone(data, tmp_path):
    found = prepared(tmp_path, settings(data)).fingerprint
    assert found["train.batch_size"] == 20 and found["strategy.epochs"] == 4
    assert found["train.warmup.source"] is False and found["seed network's macs"] > 0
    assert not any(str(data) in str(value) for value in found.values())
