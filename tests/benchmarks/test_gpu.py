"""What benchmarks.gpu does where there is no GPU, and that what it would run can be set."""

import sys

import numpy as np
import pytest
import torch

from benchmarks import gpu, step_time
from search.config import composed


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_it_says_that_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu"])
    with pytest.raises(SystemExit, match="finds no GPU"):
        gpu.main()


def test_a_step_is_compared_on_any_device(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ((gpu, "ROUNDS"), (step_time, "CHOOSING")):
        monkeypatch.setattr(module, name, 1)
    line = gpu.compared("ds_cnn", "masks", 4, torch.device("cpu"))
    assert line["batch"] == 4 and line["plain_format"] in step_time.FORMATS
    assert line["eager_ratio"] == pytest.approx(line["ours_ms"] / line["plain_ms"], rel=0.01)


def test_images_are_made_once(tmp_path):
    path = tmp_path / "made" / "images.npz"
    gpu.made(path, {"train": 3, "test": 2})
    with np.load(path) as arrays:
        assert arrays["x_train"].shape == (3, 3, 32, 32) and arrays["y_test"].shape == (2,)
    written = path.read_bytes()
    gpu.made(path, {"train": 3, "test": 2})
    assert path.read_bytes() == written


@pytest.mark.parametrize("job", gpu.JOBS)
def test_jobs_can_be_set(job):
    file = ["data.file=made.npz"] if job == "cifar" else []
    assert composed([*gpu.JOBS[job], *file, "train.device=cuda"]).train.device == "cuda"
