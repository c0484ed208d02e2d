"""The README tells the truth: its code runs, its commands compose, its tables are complete."""

import re
import shlex
from pathlib import Path

import pytest
from torch import nn

import cost_models
from search.budgets import feasibility
from search.command import COMMANDS
from search.config import ConfigError, parse
from search.data import DataError
from search.deploy.lower import LoweringError
from search.files import run_folders
from search.integer.program import Program, ProgramError
from search.training import checkpoint, loop
from spaces.graph.errors import UnsupportedNetwork
from tests import folders
from tests.folders import EPOCHS, ROOT, in_folder, own_folder
from tests.search.small import write_stripes
from tests.spaces.graph.forms import MODULES

README = (ROOT / "README.md").read_text()
GROUPS = ("data", "model", "target", "task", "space", "strategy", "train")
# One ConvNd in the table.
PADS = "ZeroPad|ConstantPad|ReflectionPad|ReplicationPad|CircularPad"
POOLS = "MaxPool|AvgPool|AdaptiveAvgPool|AdaptiveMaxPool"
FOLDED = rf"(Conv|ConvTranspose|BatchNorm|InstanceNorm|Dropout|{PADS}|{POOLS})[123]d"
NETWORK = """
from torch import nn

class MyNet(nn.Sequential):
    def __init__(self, in_channels, classes, width):
        super().__init__(nn.Conv2d(in_channels, width, 3), nn.ReLU(), nn.Flatten(), nn.Linear(36 * width, classes))
"""


# What stands around the loop of one's own.
BEFORE = """
import torch
from torch import nn
from search.data.digits import DigitsOptions, load_digits

data = load_digits(DigitsOptions())
images, labels = data.normalise(data.train.images), data.train.targets
batches = [*zip(images.split(32), labels.split(32), strict=True)] * 8
torch.manual_seed(0)
net = nn.Sequential(nn.Conv2d(1, 16, 3, 2), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))
images = images[:64]
"""
AFTER = """
from search.integer.executor import Executor
right = Executor(program)(data.normalise(data.test.images).numpy()).argmax(1) == data.test.targets.numpy()
print(program.flash_bytes(), small.costs()["flash_bytes"].item(), seed_cost, right.mean())
"""
ONE_OF = """
import torch
from spaces.searchable import searchable
print(searchable(net, torch.zeros(2, 1, 8, 8)).choices["2/branch"].options)
"""
DIGITS = """# @package _global_
defaults:
  - override /data: digits
  - override /model: custom
"""


@pytest.fixture
def folder(tmp_path):
    """A user's own, with a `conf` of another program."""
    return own_folder(tmp_path / "mine")


def blocks(language: str) -> list[str]:
    return folders.blocks(README, language)


def commands(first: str) -> list[list[str]]:
    """Arguments of every `python -m search` and `picojoule` whose first begins so."""
    lines = [shlex.split(line, comments=True) for block in blocks("bash") for line in block.splitlines()]
    arguments = [line[line.index(word) + 1 :] for line in lines for word in ("search", "picojoule") if word in line]
    return [a for a in arguments if a and a[0].startswith(first)]


def test_one_of_example_converts(folder):
    _, _, script = blocks("python")
    assert in_folder(folder, "python", "-c", script + ONE_OF) == "(0, 1)\n"


def test_one_of_in_yaml_is_searched(folder):
    _, text = blocks("yaml")
    found = searched(folder, "modules", DIGITS + text, "+experiment=modules")
    assert "2/branch" in (found / "architecture.json").read_text()


def test_python_example_runs_and_keeps_its_budget(folder):
    script, _, _ = blocks("python")
    last = in_folder(folder, "python", "-c", script).splitlines()[-1]
    measured, reported = map(float, last.split())
    found = folder / "runs/digits"
    assert measured == reported > 0.8, [(found / n).read_text() for n in ("summary.json", "architecture.json")]
    assert Program.load(found / "program.safetensors").flash_bytes() <= 2048


def test_a_loop_of_ones_own_finds_a_smaller_network_whose_integers_are_as_good(folder):
    _, script, _ = blocks("python")
    flash, counted, seed, accuracy = map(float, in_folder(folder, "python", "-c", BEFORE + script + AFTER).split())
    assert flash == counted < 0.6 * seed
    assert accuracy > 0.8


def test_yaml_example_runs(folder):
    text, _ = blocks("yaml")
    (folder / "my_package.py").write_text(NETWORK)
    write_stripes(folder / "my_data.npz", count=80)
    (arguments,) = commands("--config-dir")
    assert '"met": true' in (searched(folder, "mine", text, *arguments[1:]) / "summary.json").read_text()


def searched(folder: Path, name: str, text: str, *arguments: str) -> Path:
    """The folder of a short run of an experiment of the user's."""
    (folder / "experiment").mkdir()
    (folder / f"experiment/{name}.yaml").write_text(text)
    run = folder / "runs/one"
    in_folder(folder, "python", "-m", "search", "--config-dir=.", *arguments, *EPOCHS, f"folder={run}")
    return run


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
    assert listed == {re.sub(FOLDED, r"\1Nd", kind.__name__) for kind in MODULES}


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
