"""The found network layer by layer: sums are the run's costs, channels the seed network's."""

import json

import pytest

from search.errors import PicojouleError
from search.monitor.history import read_history
from search.report import document
from search.report.layers import layers_of_model, layers_of_picks
from search.report.runs import read_run
from spaces.architecture import Architecture
from tests.search.run_folders import LIMITS

SEED_CHANNELS = {"conv1": 8, "conv2": 16, "head": 4}


@pytest.fixture
def folder(searched):
    return searched[LIMITS[0]]


@pytest.fixture
def picks(folder):
    return Architecture.from_json((folder / "architecture.json").read_text()).picks


def test_layers_sum_to_the_costs_of_the_run_and_ram_peaks_at_its_peak(folder, picks):
    layers, faults = layers_of_model(folder / "model.safetensors", picks, [])
    costs = json.loads((folder / "summary.json").read_text())["costs"]
    assert not faults
    assert sum(layer.costs["flash_bytes"] for layer in layers) == costs["flash_bytes"]["found"]
    assert sum(layer.costs["macs"] for layer in layers) == costs["macs"]["found"]
    (peak,) = [layer for layer in layers if layer.peak]
    assert peak.costs["peak_ram_bytes"] == costs["peak_ram_bytes"]["found"]
    assert all(layer.costs["energy_pj"] > 0 for layer in layers if layer.bits)


def test_bits_are_those_of_the_channels_that_are_kept(folder, picks):
    layers = {layer.name: layer for layer in layers_of_model(folder / "model.safetensors", picks, [])[0]}
    for name in ("conv1", "conv2"):
        gate, bits = picks[f"{name}/channels"], picks[f"{name}/bits"]
        kept = [width for width, stays in zip(bits, gate, strict=True) if stays]
        assert layers[name].bits == {width: kept.count(width) for width in set(kept)}
        assert layers[name].kept == len(kept)


@pytest.mark.parametrize("with_history", [True, False])
def test_channels_of_the_seed_network_are_those_of_the_first_epoch_or_of_the_picks(folder, picks, with_history):
    ends = read_history(folder / "history.jsonl")[0] if with_history else []
    layers, _ = layers_of_model(folder / "model.safetensors", picks, ends)
    assert {layer.name: layer.channels for layer in layers if layer.bits} == SEED_CHANNELS


def test_epochs_of_the_decided_network_say_nothing_of_the_seed_network(folder, picks):
    ends = [end for end in read_history(folder / "history.jsonl")[0] if end.phase == "finetune"]
    layers, _ = layers_of_model(folder / "model.safetensors", {}, ends)
    assert {layer.channels for layer in layers} == {None}


def test_picks_alone_tell_channels_and_bits():
    picks = {"a/bits": (8, 2, 2), "a/channels": (1, 1, 0), "b/bits": (4,), "b/channels": (1, 2), "c/kernel": (3,)}
    a, b = layers_of_picks(picks)
    assert (a.name, a.kept, a.channels, a.bits) == ("a", 2, 3, {8: 1, 2: 1})
    assert (b.name, b.kept, b.channels, b.bits) == ("b", 3, 2, {4: 3})  # one channel stands there twice


def test_a_missing_model_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"model\.safetensors: cannot be read as a model"):
        layers_of_model(tmp_path / "model.safetensors", {}, [])


def test_a_fault_inside_a_cost_model_is_a_defect_and_no_fault_of_the_run(folder, monkeypatch):
    def faulty(model, network):
        raise ValueError("a fault of the model's own")

    monkeypatch.setattr("search.report.layers.cost_by_layer", faulty)
    with pytest.raises(ValueError, match=r"^a fault of the model's own") as raised:
        document([read_run(folder)])
    assert not isinstance(raised.value, PicojouleError)
