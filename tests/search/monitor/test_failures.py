"""A command that fails says one line where picojoule knows why; a defect keeps its traceback and asks for a report."""

import signal
import sys
from importlib.metadata import version

import pytest

from search.budgets.feasibility import BudgetError
from search.errors import FileError, UsageError
from search.monitor.failures import ending
from search.training.losses import TrainingDiverged

URL = "postgresql://me:secret@host/db"
KNOWN = [UsageError("no."), BudgetError("no."), TrainingDiverged("no."), FileError(28, "no.")]
DEFECTS = [ValueError("a defect"), RuntimeError("a defect"), OSError("a defect"), KeyError("a defect")]


def failed(error):
    with pytest.raises(SystemExit) as ended, ending():
        raise error
    return str(ended.value)


@pytest.mark.parametrize("error", KNOWN)
def test_what_picojoule_knows_is_one_line(error, capsys):
    assert failed(error) == "picojoule: no."
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("error", DEFECTS)
def test_anything_else_shows_its_traceback_and_asks_for_a_report(error, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["search", "+experiment=mine", f"strategy.storage={URL}"])
    said = failed(error)
    assert "Please report it" in said and "secret" not in said
    assert "python -m search +experiment=mine strategy.storage=postgresql://me:***@host/db\n" in said
    assert f"torch {version('torch')}" in said
    shown = capsys.readouterr().err
    assert "Traceback" in shown and "raise error" in shown and type(error).__name__ in shown


@pytest.mark.parametrize(("number", "name"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")])
def test_a_signal_ends_the_process_with_one_line(number, name, capsys):
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell sets it for what runs in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as left, ending():
        signal.raise_signal(number)
    assert left.value.code == 128 + number and signal.getsignal(number) is before
    assert capsys.readouterr().err == f"picojoule: stopped by {name}.\n"


def test_the_whole_error_can_be_had(monkeypatch):
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(UsageError), ending():
        raise UsageError("no.")


def test_an_error_in_code_of_the_user_is_shown_above_the_line(capsys):
    error = UsageError("model: no.").showing_cause()
    error.__cause__ = ZeroDivisionError("in a constructor")
    assert failed(error) == "picojoule: model: no."
    assert capsys.readouterr().err.strip() == "ZeroDivisionError: in a constructor"


def test_a_cause_that_picojoule_knows_says_nothing_more(capsys):
    error = UsageError("model: no.").showing_cause()
    for error.__cause__ in (None, BudgetError("no.")):
        assert failed(error) == "picojoule: model: no."
    error = UsageError("no.")
    error.__cause__ = OSError("no.")
    assert failed(error) == "picojoule: no."
    assert capsys.readouterr().err == ""
