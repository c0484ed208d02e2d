"""Compilers: which is taken, and what is said where there is none or it fails."""

from pathlib import Path

import pytest

from search import compilers
from search.deploy.backends import backend
from search.errors import MissingTool, UsageError
from tests.search.integer.programs import residual_network


@pytest.fixture
def without_cc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)


def test_a_missing_compiler_is_named_with_what_to_do(monkeypatch, without_cc):
    monkeypatch.setattr(compilers.shutil, "which", lambda name: None)
    monkeypatch.setattr(compilers, "find_spec", lambda name: None)
    with pytest.raises(
        MissingTool, match=r"no C compiler found \(gcc, clang, cc\)\. Install one, or `pip install ziglang`"
    ):
        compilers.compiler()


def test_the_environment_chooses(monkeypatch):
    monkeypatch.setenv("CC", "clang -m32")
    assert compilers.compiler() == ["clang", "-m32"]


def test_the_one_of_a_package_is_the_last_resort(monkeypatch, without_cc):
    monkeypatch.setattr(compilers.shutil, "which", lambda name: None)
    monkeypatch.setattr(compilers, "find_spec", lambda name: object())
    assert compilers.compiler()[1:] == ["-m", "ziglang", "cc"]


def test_a_compiler_that_fails_is_quoted_and_the_files_stay(monkeypatch, tmp_path: Path):
    monkeypatch.delenv("CC", raising=False)
    file = backend("c").write(residual_network(), tmp_path)
    (tmp_path / "network.c").write_text("this is no C")
    with pytest.raises(UsageError, match=r"(?s)`.*network\.c.*` failed \(1\):.*error.*The generated files are in"):
        backend("c").opened(file)
    assert (tmp_path / "weights.c").is_file()


def test_a_compiler_that_cannot_be_run_is_named(monkeypatch, tmp_path: Path):
    monkeypatch.setenv("CC", "no-such-compiler")
    file = backend("c").write(residual_network(), tmp_path)
    with pytest.raises(MissingTool, match=r"no-such-compiler cannot be run \(No such file or directory\)"):
        backend("c").opened(file)
