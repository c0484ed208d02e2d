"""The README tells the truth: its code runs, its commands compose, its tables are complete."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

import cost_models
from search.__main__ import COMMANDS
from search.budgets import feasibility
from search.config import ConfigError, parse
from search.data import DataError
from search.data.digits import DigitsOptions, load_digits
from search.deploy.lower import LoweringError
from search.files import run_folders
from search.integer.executor import Executor
from search.integer.program import Program, ProgramError
from search.model import model_maker
from search.training import checkpoint, loop
from spaces.graph.errors import UnsupportedNetwork
from spaces.graph.ops import RULES
from spaces.searchable import searchable
from tests.search.small import write_stripes

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
GROUPS = ("data", "model", "target", "task", "space", "strategy", "train")
# One ConvNd in the table.
FOLDED = r"(Conv|ZeroPad|ConstantPad|BatchNorm|Dropout|MaxPool|AvgPool|AdaptiveAvgPool|AdaptiveMaxPool)[123]d"
NETWORK = """
from torch import nn

class MyNet(nn.Sequential):
    def __init__(self, in_channels, classes, width):
        super().__init__(nn.Conv2d(in_channels, width, 3), nn.ReLU(), nn.Flatten(), nn.Linear(36 * width, classes))
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def commands(first: str) -> list[list[str]]:
    """Arguments of every `python -m search` and `picojoule` whose first begins so."""
    lines = [shlex.split(line, comments=True) for block in blocks("bash") for line in block.splitlines()]
    arguments = [line[line.index(word) + 1 :] for line in lines for word in ("search", "picojoule") if word in line]
    return [a for a in arguments if a and a[0].startswith(first)]


def in_folder(folder: Path, *command: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_one_of_example_converts():
    _, _, script = blocks("python")
    names: dict = {}
    exec(script, names)
    space = searchable(names["net"], torch.zeros(2, 1, 8, 8))
    assert space.choices["2/branch"].options == (0, 1)


def test_one_of_in_yaml_converts():
    _, text = blocks("yaml")
    net = model_maker(OmegaConf.to_container(OmegaConf.create(text))["model"])(load_digits(DigitsOptions()))
    space = searchable(net, torch.zeros(2, 1, 8, 8))
    assert space.choices["2/branch"].options == (0, 1)


def test_python_example_runs_and_keeps_its_budget(tmp_path):
    script, _, _ = blocks("python")
    last = in_folder(tmp_path, "-c", script).splitlines()[-1]
    measured, reported = map(float, last.split())
    folder = tmp_path / "runs/digits"
    assert measured == reported > 0.8, [(folder / n).read_text() for n in ("summary.json", "architecture.json")]
    assert Program.load(folder / "program.safetensors").flash_bytes() <= 2048


def test_a_loop_of_ones_own_finds_a_smaller_network_whose_integers_are_as_good():
    _, script, _ = blocks("python")
    data = load_digits(DigitsOptions())
    images, labels = data.normalise(data.train.images), data.train.labels
    batches = [*zip(images.split(32), labels.split(32), strict=True)] * 8
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 16, 3, 2), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))
    names = {"net": net, "images": images[:64], "batches": batches}
    exec(script, names)
    assert names["program"].flash_bytes() == names["small"].costs()["flash_bytes"] < 0.6 * names["seed_cost"]
    found = Executor(names["program"])(data.normalise(data.test.images).numpy()).argmax(1)
    assert (found == data.test.labels.numpy()).mean() > 0.8


def test_yaml_example_runs(tmp_path):
    text, _ = blocks("yaml")
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment/mine.yaml").write_text(text)
    (tmp_path / "my_package.py").write_text(NETWORK)
    write_stripes(tmp_path / "my_data.npz", count=80)
    (arguments,) = commands("--config-dir")
    epochs = [f"{key}.epochs=1" for key in ("train.warmup", "strategy", "train.finetune")]
    epochs.append("train.finetune.integer_epochs=1")
    in_folder(tmp_path, "-m", "search", *arguments, *epochs)
    (summary,) = (tmp_path / "runs/mine").glob("*/summary.json")
    assert '"met": true' in summary.read_text()


def test_there_are_commands():
    assert len(commands("+experiment")) >= 6
    assert {first for first, *_ in commands("")} > set(COMMANDS)


@pytest.mark.parametrize("arguments", commands("+experiment"), ids=" ".join)
def test_command_composes(composed, arguments):
    assert f"+experiment={parse(composed(*arguments)).plain_values['name']}" == arguments[0] or "name=" in arguments[1]


@pytest.mark.parametrize("group", GROUPS)
def test_all_options_of_a_group_are_listed(group):
    (listed,) = re.findall(rf"^\| `{group}` \| (.*?) \|", README, re.MULTILINE)
    assert set(listed.split(", ")) == {path.stem for path in (ROOT / "conf" / group).glob("*.yaml")}


def test_all_costs_are_listed():
    listed = re.findall(r"^\| `(\w+)` \| [\w]+ \|", README[README.index("## Costs") :], re.MULTILINE)
    assert set(listed) == set(cost_models.COST_MODELS) | set(cost_models.TARGET_COST_MODELS)


def test_all_modules_that_convert_are_listed_and_no_others():
    section = README[README.index("## What converts") : README.index("## What an error means")]
    first_cells = " ".join(re.findall(r"^\| (.*?) \|", section, re.MULTILINE))
    listed = {name for name in re.findall(r"`(\w+)`", first_cells) if hasattr(nn, name.replace("Nd", "2d"))}
    modules = [key for key in RULES if isinstance(key, type)]
    assert listed == {re.sub(FOLDED, r"\1Nd", kind.__name__) for kind in modules if kind.__module__.startswith("torch")}


@pytest.mark.parametrize(
    "error",
    [
        *(UnsupportedNetwork, feasibility.BudgetError, DataError, cost_models.layer.UnsupportedLayer),
        *(cost_models.target.IllegalLayer, LoweringError, ProgramError, loop.TrainingDiverged),
        *(checkpoint.CheckpointError, run_folders.RunFolderError, ConfigError),
    ],
)
def test_error_is_explained(error):
    assert f"| `{error.__name__}` |" in README
