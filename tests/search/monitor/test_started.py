"""The command that a process was started by."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from search.monitor.started import started_as


@pytest.mark.parametrize(
    ("program", "module", "words"),
    [
        ("/somewhere/bin/picojoule", None, ["picojoule"]),
        ("/somewhere/search/__main__.py", "search.__main__", ["python", "-m", "search"]),
        ("/somewhere/search/report/__main__.py", "search.report.__main__", ["python", "-m", "search.report"]),
        ("/somewhere/search/compare.py", "search.compare", ["python", "-m", "search.compare"]),
        ("/somewhere/mine.py", None, ["python", "-m", "search"]),  # of a script that calls compress
        ("/somewhere/pytest/__main__.py", "pytest.__main__", ["python", "-m", "search"]),
    ],
)
def test_the_words_before_the_arguments(monkeypatch, program, module, words):
    main = ModuleType("__main__")
    main.__spec__ = module and SimpleNamespace(name=module)
    monkeypatch.setattr(sys, "argv", [program, "seed=1"])
    monkeypatch.setitem(sys.modules, "__main__", main)
    assert started_as() == words
