"""Errors of the project have one base, by which commands tell them from defects."""

import inspect
import os
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from search.errors import FileError, PicojouleError, UsageError, file_errors

ROOT = Path(__file__).parents[2]
PACKAGES = ("cost_models", "spaces", "search")
WITHOUT_TRITON = () if find_spec("triton") else ("spaces.passes.fused",)


def exceptions():
    """All exception classes that the packages define."""
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            if path.stem not in ("__main__", "__init__") and name not in WITHOUT_TRITON:
                for _, found in inspect.getmembers(import_module(name), inspect.isclass):
                    if issubclass(found, BaseException) and found.__module__ == name:
                        yield found


def test_every_error_has_the_base_and_one_of_pythons_own():
    found = set(exceptions()) - {PicojouleError}
    assert len(found) > 10
    for error in found:
        assert issubclass(error, PicojouleError), error
        assert issubclass(error, (ValueError, OSError, RuntimeError, NotImplementedError, OverflowError)), error


def test_a_file_error_names_the_file_and_keeps_the_number(tmp_path):
    path, said = tmp_path / "nothing.txt", r"nothing\.txt: cannot be read \(No such file or directory\)$"
    with pytest.raises(FileError, match=said) as raised, file_errors(path, "cannot be read"):
        path.read_text()
    assert raised.value.errno == 2 and isinstance(raised.value, OSError)


def test_a_usage_error_is_a_value_error():
    with pytest.raises(ValueError):
        raise UsageError("no.")


def refused(folder, data, model, *overrides) -> str:
    """What the command prints of a run that is refused, in a folder in which nothing new may stand then."""
    before = sorted(folder.iterdir())
    command = [
        *(sys.executable, "-m", "search", "data=npz", f"data.file={data}", "model=custom", "tensorboard=false"),
        *(f"model._target_={model}", "train.device=cpu", *overrides),
    ]
    environment = os.environ | {
        **{"PYTHONPATH": os.pathsep.join([str(ROOT), str(folder)]), "OMP_NUM_THREADS": "1"},
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and sorted(folder.iterdir()) == before
    return done.stderr


def test_a_run_that_is_refused_says_one_line_and_leaves_nothing(data, tmp_path):
    said = refused(tmp_path, data, "tests.search.small.Small", "budgets.flash_bytes=10")
    assert said.startswith("picojoule: budgets.flash_bytes: 10 B cannot be met") and "Traceback" not in said


def test_an_error_in_the_users_model_shows_its_line_above_ours(data, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n\n\nclass Net(nn.Conv2d):\n    def forward(self, x):\n"
        "        return super().forward(x).no_such_method()\n"
    )
    arguments = ("+model.out_channels=4", "+model.kernel_size=3")
    said = refused(tmp_path, data, "mine.Net", *arguments)
    assert "Traceback" in said and 'mine.py", line 6, in forward' in said and "report" not in said
    assert said.splitlines()[-1].startswith("picojoule: module ")
