"""A run goes on with what it began with, wherever that lies; anything else is refused and named."""

import json
import shutil
from dataclasses import replace

import pytest

from search.files.run_folders import RunFolderError
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
        (changed_settings, r"train\.finetune\.lr was 0\.02, is 0\.5\. Go on with what it began with"),
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
    with pytest.raises(RunFolderError, match=r"began as another experiment: the data differ\. Go on"):
        run(done[0], other)
    with pytest.raises(RunFolderError, match=r"the data differ; the first weights differ; seed network's flash_bytes"):
        run(done[0], other, lambda: Small(channels=6))


def test_a_run_of_a_version_that_wrote_no_fingerprint_goes_on_and_has_one_then(done, data, tmp_path):
    shutil.copytree(done[0], tmp_path / "old")
    (tmp_path / "old" / FINGERPRINT_FILE).unlink()
    again = run(tmp_path / "old", settings(data, "fixed"))
    assert again["architecture"] == done[1]["architecture"]
    assert (tmp_path / "old" / FINGERPRINT_FILE).read_bytes() == (done[0] / FINGERPRINT_FILE).read_bytes()


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
