"""The folder that is exported: it builds, tests itself, and says so where something differs."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from search.deploy.backends import backend
from tests.search.integer.programs import attention_network, residual_network

make = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")


def check(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", "-s", "check"], cwd=folder, capture_output=True, text=True)


@make
@pytest.mark.parametrize("network", [residual_network, attention_network])
def test_make_builds_the_self_test_which_passes(network, tmp_path: Path):
    program = network()
    backend("c").write(program, tmp_path)
    done = check(tmp_path)
    assert done.returncode == 0 and not done.stderr
    first, *tensors, last = done.stdout.splitlines()
    assert re.fullmatch(r"picojoule self-test [0-9a-f]{8}", first)
    assert len(tensors) == len(program.tensors) and all(line.endswith(" ok") for line in tensors)
    assert last == f"0 of {len(program.tensors)} tensors differ"


@make
def test_a_changed_weight_is_found(tmp_path: Path):
    backend("c").write(residual_network(), tmp_path)
    text = (tmp_path / "weights.c").read_text()
    place = text.index("_shift_8_0[")
    number = re.compile(r"-?\d+").search(text, text.index("{", place))
    changed = str(int(number[0]) - 2)
    (tmp_path / "weights.c").write_text(text[: number.start()] + changed + text[number.end() :])
    done = check(tmp_path)
    assert done.returncode != 0 and "DIFFERS" in done.stdout


def test_what_builds_it_names_files_that_are_there(tmp_path: Path):
    backend("c").write(residual_network(), tmp_path)
    there = {path.name for path in tmp_path.iterdir()}
    for file in ("Makefile", "CMakeLists.txt", "README.md"):
        named = set(re.findall(r"\b\w+\.[ch]\b", (tmp_path / file).read_text()))
        assert named and named <= there, file
