"""The command: from any folder, by either of its names, and its other commands."""

import os
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import pytest

from search import application, command
from search.config import CONF

ROOT = Path(__file__).parents[2]
NETWORK = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self, classes):
        super().__init__(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, classes))
"""


@pytest.fixture
def called(monkeypatch, capsys):
    """(*arguments) -> what `picojoule *arguments` prints."""

    def call(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["/bin/picojoule", *arguments])
        monkeypatch.setattr(sys, "path", [*sys.path])
        command.main()
        return capsys.readouterr().out

    return call


@pytest.fixture
def console(tmp_path):
    """(*arguments) -> the process of the command that is installed, in a folder that hides every name of ours."""
    for name in ("search.py", "spaces.py", "cost_models.py", "conf.py"):
        (tmp_path / name).write_text("raise SystemExit('a file of the user')\n")
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/__init__.py").write_text("raise SystemExit('a folder of the user')\n")
    (tmp_path / "mine.py").write_text(NETWORK)
    # What pip makes of an entry point. Its folder, and not the user's, is the first that Python imports from.
    script = tmp_path / "bin/picojoule"
    script.parent.mkdir()
    script.write_text("import sys\nfrom search.__main__ import main\nsys.exit(main())\n")

    def call(*arguments: str) -> subprocess.CompletedProcess:
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        words = [sys.executable, str(script), *arguments]
        return subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)

    return call


def test_the_command_that_is_installed_is_the_one_of_the_module(monkeypatch):
    project, called = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"], []
    module, _, name = project["scripts"]["picojoule"].partition(":")
    monkeypatch.setattr(command, "main", lambda: called.append(module))
    getattr(import_module(module), name)()
    assert called == ["search.__main__"]  # which python -m search runs


def test_it_has_a_version(called):
    assert called("--version") == f"picojoule {version('picojoule')}\n"


def test_help_shows_commands_groups_without_schemas_and_keys(called, capsys):
    with pytest.raises(SystemExit) as ended:
        called("--help")
    said = capsys.readouterr().out
    assert ended.value.code == 0 and said.startswith(command.usage()) and "train:\n  batch_size: 64\n" in said
    for group in (folder for folder in CONF.iterdir() if folder.is_dir()):
        options = sorted(path.stem for path in group.glob("*.yaml"))
        assert f"\n{group.name}: {', '.join(options)}\n" in said


def test_the_usage_names_every_command():
    lines = command.usage().splitlines()
    for name, other in command.COMMANDS.items():
        assert any(line.startswith(f"  picojoule {name} ") and line.endswith(other.does) for line in lines)


@pytest.mark.parametrize("name", command.COMMANDS)
def test_a_first_word_is_a_command_of_its_own(called, capsys, name):
    with pytest.raises(SystemExit) as ended:
        called(name, "--help")
    assert ended.value.code == 0 and capsys.readouterr().out.startswith(f"usage: picojoule {name} ")
    with pytest.raises(SystemExit, match="'no folder': no run folder"):
        called(name, "no folder")


@pytest.mark.parametrize(
    ("word", "first"), [("reprot", "report, export, certify"), ("comparison", "compare, certify, report")]
)
def test_a_first_word_that_is_no_command_is_refused_with_the_nearest_first(called, word, first):
    with pytest.raises(
        SystemExit, match=rf"^picojoule: there is no command '{word}'\. There are {first}, [a-z, ]+, and a search"
    ):
        called(word, "runs/q")


def test_it_runs_beside_files_of_the_user_that_have_our_names(console, tmp_path, data):
    short = ("strategy.epochs=1", "train.finetune.epochs=1", "train.finetune.integer_epochs=1", "tensorboard=false")
    model = ("model=custom", "model._target_=mine.Net", "train.warmup.epochs=1", "train.device=cpu", "name=mine")
    done = console("data=npz", f"data.file={data}", *model, *short)
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "runs/mine").iterdir()
    assert (folder / "config.yaml").read_text().startswith(f"# picojoule data=npz data.file={data} ")
    assert console("compare", str(folder)).stdout.startswith("accuracy ")
    assert "picojoule +experiment=mobilenet_mcu" in console().stderr


def test_torchrun_starts_what_it_was_told_to_start(monkeypatch):
    class Config:
        class runtime:
            config_sources = ()

    monkeypatch.setattr(application.HydraConfig, "get", lambda: Config)
    monkeypatch.setattr(application.distributed, "world_size", lambda: 2)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    module = application._command(["python", "-m", "search"], ["resume=a b"])
    assert module == "torchrun --nproc-per-node=2 -m search 'resume=a b'"
    installed = application._command(["picojoule"], ["resume=a"])
    assert installed == "torchrun --nproc-per-node=2 --no-python picojoule resume=a"
    monkeypatch.setattr(application.distributed, "world_size", lambda: 6)
    machines = application._command(["picojoule"], ["resume=a"])
    assert machines == "torchrun --nnodes=3 --nproc-per-node=2 --no-python picojoule resume=a"


@pytest.mark.parametrize("other", ["data.file=renamed.npz", "seed=3", "+experiment=mine", "nosuch=1"])
def test_a_run_that_goes_on_takes_no_settings_and_says_where_moved_data_is_corrected(called, other):
    """Also those that Hydra would refuse for another reason, since it knows no settings of the run's folder."""
    said = r"cannot be changed in a run that has begun, which takes its settings from its folder.* config\.yaml of that"
    with pytest.raises(SystemExit, match=rf"resume: \['{re.escape(other)}'\] {said}"):
        called("resume=runs/a", "quiet=true", other)


@pytest.mark.parametrize("name", ["a/b", "..", "a/"])
def test_a_name_of_several_folders_is_refused(called, monkeypatch, tmp_path, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=rf"name is {name}; allowed: the name of one folder, without /"):
        called(f"name={name}")
    assert not list(tmp_path.iterdir())


def test_the_configuration_is_found_beside_the_package():
    assert Path(command.__file__).parents[1] / "conf" == CONF and (CONF / "config.yaml").is_file()


def test_ctrl_c_while_the_command_is_still_imported_is_one_line(tmp_path):
    (tmp_path / "torch.py").write_text("raise KeyboardInterrupt\n")
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        [sys.executable, "-m", "search", "--version"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (130, "picojoule: stopped by Ctrl-C.\n")
