"""A run goes on wherever its folder and its data lie."""

import os
import shutil

import pytest

from search.config import composed, read_config, write_config
from search.files.places import read_from, written_for
from search.files.run_folders import RunFolderError
from search.model import model_maker
from search.run import run
from tests.search.small import write_stripes

KEYS = [
    *("data=npz", "data.file=d.npz", "model=custom", "model._target_=tests.search.small.Small", "strategy=fixed"),
    *("train.warmup.epochs=1", "train.finetune.epochs=1", "train.finetune.integer_epochs=1", "train.batch_size=20"),
    *("tensorboard=false", "train.device=cpu", "train.threads=1"),
]


def gone_on_with(folder):
    settings = read_config(folder)
    return run(settings, model_maker(settings.model), folder)


def test_a_run_goes_on_from_another_working_folder_and_after_it_was_moved_with_its_data(tmp_path, monkeypatch):
    old, folder = tmp_path / "old", tmp_path / "old/runs/a"
    folder.mkdir(parents=True)
    write_stripes(old / "d.npz", count=160)
    monkeypatch.chdir(old)
    settings = composed(KEYS)
    write_config(settings, folder, "a command")
    first = run(settings, model_maker(settings.model), folder)
    monkeypatch.chdir("/")
    assert gone_on_with(folder)["architecture"] == first["architecture"]
    (tmp_path / "elsewhere").mkdir()
    shutil.move(folder, tmp_path / "elsewhere/b")
    assert gone_on_with(tmp_path / "elsewhere/b")["architecture"] == first["architecture"]
    shutil.move(tmp_path / "elsewhere/b", folder)
    shutil.move(old, tmp_path / "new")
    assert gone_on_with(tmp_path / "new/runs/a")["architecture"] == first["architecture"]
    write_stripes(tmp_path / "new/d.npz", count=160, seed=1)
    with pytest.raises(RunFolderError, match="the data differ"):
        gone_on_with(tmp_path / "new/runs/a")


def test_paths_become_absolute_and_urls_and_all_else_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    given = {
        "data": {"name": "npz", "file": "~/d.npz", "folder": None},
        "train": {"warmup": {"source": "runs/a"}},
        "strategy": {"table": "", "storage": "postgresql://host/db"},
        "model": {"file": "d.npz"},
    }
    assert written_for(tmp_path / "run", given) == {
        "data": {"name": "npz", "file": "/home/me/d.npz", "folder": None},
        "train": {"warmup": {"source": f"{tmp_path}/runs/a"}},
        "strategy": {"table": "", "storage": "postgresql://host/db"},
        "model": {"file": "d.npz"},
        "folder": f"{tmp_path}/run",
    }
    assert given["data"]["file"] == "~/d.npz"


def test_a_path_moves_only_where_it_is_gone_and_the_new_one_is_there(tmp_path):
    folder = tmp_path / "new/run"
    folder.mkdir(parents=True)
    kept = {"folder": str(tmp_path / "old/run"), "data": {"file": str(tmp_path / "old/d.npz")}, "strategy": "damaged"}
    assert read_from(folder, kept) == kept
    (tmp_path / "new/d.npz").touch()
    assert read_from(folder, kept)["data"]["file"] == os.path.normpath(tmp_path / "new/d.npz")
    (tmp_path / "old").mkdir()
    (tmp_path / "old/d.npz").touch()
    assert read_from(folder, kept) == kept


@pytest.mark.parametrize("kept", [{}, {"folder": None}, {"folder": 3, "data": {"file": "d.npz"}}])
def test_what_earlier_versions_kept_stays_as_it_is(tmp_path, kept):
    assert read_from(tmp_path, kept) == kept
