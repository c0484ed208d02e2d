"""`compress` does the same whatever its caller has set for code of his own, and what he has set stays as it is."""

import logging
import os
import subprocess
import sys
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import JobRuntime
from hydra.version import getbase

from search.api import compress
from search.config import CONF, composed
from search.data import from_arrays
from tests.search.kills import same_outputs
from tests.search.small import Small, prepared, settings

ROOT = Path(__file__).parents[2]
BUDGETS = {"flash_bytes": 500}
SHORT = [
    *("train.warmup.epochs=1", "strategy.epochs=1", "train.finetune.epochs=1", "train.finetune.integer_epochs=1"),
    *("train.batch_size=20", "tensorboard=false", "train.device=cpu", "train.threads=1"),
]


@contextmanager
def in_float64(folder):
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def in_a_group(folder):
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder / 'store'}", rank=0, world_size=1)
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


def state():
    return (
        *(torch.get_default_dtype(), torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        *(torch.is_autocast_enabled("cpu"), torch.get_default_device(), torch.distributed.is_initialized()),
        *(torch.get_num_threads(), torch.get_rng_state().tolist()),
    )


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return Small()


@pytest.fixture(scope="module")
def plain(data, model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain") / "run"
    compress(model, from_arrays(dict(np.load(data))), BUDGETS, folder, SHORT)
    return folder


@pytest.mark.parametrize(
    "inside",
    [
        lambda folder: torch.no_grad(),
        lambda folder: torch.inference_mode(),
        lambda folder: torch.autocast("cpu"),
        lambda folder: torch.device("meta"),
        in_float64,
        in_a_group,
    ],
    ids=["no_grad", "inference_mode", "autocast", "another default device", "float64", "process group"],
)
def test_the_result_and_the_state_are_the_same_inside(data, model, plain, tmp_path, inside):
    arrays = dict(np.load(data))
    with inside(tmp_path):
        own = deepcopy(model).to(torch.get_default_dtype())
        with torch.device("cpu"):
            images = from_arrays(arrays)
        before = state()
        compress(own, images, BUDGETS, tmp_path / "run", SHORT)
        assert state() == before
        assert images.normalise(images.test.images).dtype == torch.float32
    assert same_outputs(plain, tmp_path / "run")


APPLICATION = """
import sys
import hydra
import numpy as np
import torch
from hydra.core.hydra_config import HydraConfig
from search.api import compress
from search.data import from_arrays
from tests.search.small import Small, prepared, settings

@hydra.main(version_base="1.2", config_path=None)
def main(config):
    torch.manual_seed(0)
    data = from_arrays(dict(np.load(config.data)))
    compress(Small(), data, {"flash_bytes": 500}, "run", list(config.overrides))
    assert HydraConfig.get().job.name == "application"

main()
"""


def test_it_runs_inside_a_hydra_application(data, plain, tmp_path):
    (tmp_path / "application.py").write_text(APPLICATION)
    keys = ["hydra.output_subdir=null", "hydra.run.dir=.", f"+data={data}", f"+overrides={SHORT}".replace("'", '"')]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "application.py", *keys]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert same_outputs(plain, tmp_path / "run")
    assert done.stdout.count("left alone: head") == 1, (
        "the monitor says it, and the logging of the application does not"
    )


@pytest.mark.parametrize("level", [logging.NOTSET, logging.INFO, logging.ERROR])
def test_what_is_left_alone_is_not_logged_and_the_level_of_the_caller_comes_back(data, tmp_path, caplog, level):
    """Whatever the application logs; a run says it on its monitor, or not at all where it is quiet."""
    log = logging.getLogger("spaces")
    caplog.set_level(logging.INFO)
    caplog.set_level(level, "spaces")
    space = prepared(tmp_path, settings(data)).space
    assert list(space.spec.left_alone) and log.level == level
    assert not [record for record in caplog.records if record.name != "torch.__trace"]  # which reaches none but pytest


@pytest.mark.parametrize("override", ["seed=3", "seed=x"])
def test_an_application_has_its_hydra_again(override):
    with initialize_config_dir(str(CONF), job_name="theirs", version_base="1.2"):
        ConfigStore.instance().store(name="theirs", node={"x": 1})
        hydra, stored = GlobalHydra.instance(), set(ConfigStore.instance().repo)
        try:
            assert composed([override]).seed == 3
        except ValueError:
            assert override == "seed=x"
        assert GlobalHydra.instance() is hydra and hydra.is_initialized()
        assert set(ConfigStore.instance().repo) == stored and JobRuntime.instance().get("name") == "theirs"
        assert str(getbase()) == "1.2" and compose("theirs").x == 1
