"""Errors of the project have one base, by which commands tell them from defects."""

import inspect
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from search.errors import FileError, PicojouleError, UsageError, file_errors
from tests.search.small import write_stripes

ROOT = Path(__file__).parents[2]
PACKAGES = ("cost_models", "spaces", "search")


def exceptions():
    """All exception classes that the packages define."""
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            if path.stem not in ("__main__", "__init__"):
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


def test_a_run_that_is_refused_says_one_line_and_leaves_nothing(tmp_path):
    data = write_stripes(tmp_path / "d.npz", count=160)
    command = [
        *(sys.executable, "-m", "search", "data=npz", f"data.file={data}", "model=custom", "tensorboard=false"),
        *("model._target_=tests.search.small.Small", "train.device=cpu", "budgets.flash_bytes=10"),
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert (
        done.stderr.startswith("picojoule: budgets.flash_bytes: 10 B cannot be met") and "Traceback" not in done.stderr
    )
    assert [path.name for path in tmp_path.iterdir()] == ["d.npz"]
