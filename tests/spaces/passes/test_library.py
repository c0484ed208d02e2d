"""Where passes in C come from, and what happens where they cannot be had: torch's operators, and a word of it."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from search import compilers
from spaces.passes import chosen, library
from spaces.passes.compiled import Compiled
from spaces.passes.eager import Eager
from spaces.passes.memory import takes


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """An empty cache, and a library that nobody has asked for."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    library.library.cache_clear()
    yield tmp_path / "picojoule"
    library.library.cache_clear()


@pytest.fixture
def compiler_here() -> None:
    if library.library().passes is None:
        pytest.skip(f"no passes in C here: {library.library().why}")


def test_they_are_compiled_once_and_kept(compiler_here, cache: Path, monkeypatch):
    assert isinstance(library.library().passes, Compiled)
    (file,) = cache.iterdir()
    monkeypatch.setattr(library, "compiled", lambda *_: pytest.fail("compiled again"))
    library.library.cache_clear()
    assert library.library().passes is not None and list(cache.iterdir()) == [file]


def test_a_kept_file_that_is_damaged_is_made_anew(compiler_here, cache: Path, monkeypatch):
    library.library()
    (name,) = [file.name for file in cache.iterdir()]
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache / "other"))  # since a file that is loaded stays in memory
    damaged = cache / "other" / "picojoule" / name
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes((cache / name).read_bytes()[:30_000])  # mapped, it would end the process
    library.library.cache_clear()
    assert library.library().passes is not None
    assert damaged.read_bytes() == (cache / name).read_bytes()


@pytest.mark.parametrize(
    ("command", "why"), [("no-such-compiler", "no-such-compiler cannot be run"), ("false", r"it fails \(of false\)")]
)
def test_without_a_compiler_that_works_there_are_none_and_it_says_why(cache: Path, monkeypatch, command, why):
    monkeypatch.setenv("CC", command)
    assert library.library().passes is None and re.search(why, library.library().why)
    assert isinstance(chosen.passes_for(torch.ones(2, 2)), Eager)


def test_without_any_compiler_there_are_none(cache: Path, monkeypatch):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(compilers.shutil, "which", lambda name: None)
    monkeypatch.setattr(compilers, "find_spec", lambda name: None)
    assert library.library().passes is None and "no C compiler found" in library.library().why


def test_where_nothing_can_be_kept_it_is_made_for_the_process_alone(compiler_here, cache: Path):
    cache.write_text("a file where the folder should be")
    assert library.library().passes is not None and cache.is_file()


def test_a_compiler_without_openmp_is_quoted(cache: Path, monkeypatch, tmp_path: Path):
    compiler = tmp_path / "compiler"
    compiler.write_text("#!/bin/sh\necho 'cannot find -lomp' >&2\necho more >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    assert library.library().why == f"cannot find -lomp (of {compiler})"


def test_a_second_openmp_runtime_is_refused_since_its_threads_wait_for_torchs(compiler_here, cache: Path, monkeypatch):
    found = iter([{"/torch/lib/libgomp.so.1"}, {"/torch/lib/libgomp.so.1", "/usr/lib/libomp.so.5"}])
    monkeypatch.setattr(library, "_runtimes", lambda: next(found))
    assert library.library().passes is None
    assert library.library().why == "threads of libomp.so.5 would wait for those of torch; set CC to gcc"


@pytest.mark.parametrize("name", library.TEAMS)
def test_where_torchs_teams_may_be_smaller_there_are_none(cache: Path, monkeypatch, name):
    monkeypatch.setenv(name, "2")
    assert library.library().passes is None and library.library().why.startswith(f"{name} is set")


def test_a_command_that_is_none_and_a_home_that_is_unknown_are_reasons(cache: Path, monkeypatch):
    monkeypatch.setenv("CC", 'gcc "')
    assert "CC is 'gcc \"', which is no command (No closing quotation)" in library.library().why
    library.library.cache_clear()
    monkeypatch.delenv("CC")

    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(library, "_folder", nowhere)
    assert library.library() == library.Library(None, "Could not determine home directory.")


def test_the_callers_defaults_do_not_change_the_verdict(compiler_here, cache: Path):
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            assert library.library().passes is not None
    finally:
        torch.set_default_dtype(before)


def test_elsewhere_than_on_linux_there_are_none(cache: Path, monkeypatch):
    monkeypatch.setattr(library.sys, "platform", "darwin")
    assert library.library().passes is None and "on Linux alone" in library.library().why


def test_the_environment_switches_them_off(cache: Path, monkeypatch):
    monkeypatch.setenv(library.SWITCH, "0")
    assert library.library() == library.Library(None, "PICOJOULE_COMPILE is 0")


class Wrong(Compiled):
    """Its batch norm makes other numbers."""

    def normalized(self, *arguments):
        made = super().normalized(*arguments)
        return made + 1e-6


def test_a_library_of_other_bits_than_torchs_is_not_used(compiler_here, cache: Path, monkeypatch):
    monkeypatch.setattr(library, "Compiled", Wrong)
    assert library.library().passes is None
    assert library.library().why == "torch computes other bits on this machine (normalized)"


def test_what_is_no_plain_float32_of_a_cpu_takes_torchs_operators(compiler_here):
    plain = torch.ones(4, 4)
    others = [plain.double(), plain[:, ::2], plain.t().expand(3, 4, 4).transpose(0, 1), plain[:0]]
    assert takes(plain) and not any(takes(x) for x in others)
    assert isinstance(chosen.passes_for(plain), Compiled)
    assert isinstance(chosen.passes_for(plain.to("meta")), Eager)
    vectors = [torch.ones(4, dtype=torch.float64), torch.ones(8)[::2], torch.ones(1).expand(4)]
    assert isinstance(chosen.passes_for(plain, torch.ones(4), None), Compiled)
    assert all(isinstance(chosen.passes_for(plain, vector), Eager) for vector in vectors)
    with chosen.only_eager():
        assert isinstance(chosen.passes_for(plain), Eager)


def test_memory_that_is_lacking_is_an_error(compiler_here, monkeypatch):
    passes = library.library().passes

    class Lacking:
        def __getattr__(self, name: str):
            return lambda *_: 1

    assert passes is not None
    monkeypatch.setattr(passes, "_library", Lacking())
    with pytest.raises(MemoryError, match="normalized: no memory"):
        passes.call("normalized")
