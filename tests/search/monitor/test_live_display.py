"""The display of a terminal: what it shows, in which width and colours, and how often it is drawn."""

import re
from dataclasses import replace
from math import inf, nan

import pytest

from search.monitor.events import Tick
from search.monitor.terminal import REDRAW_SECONDS, LiveMonitor, PlainMonitor, terminal_monitor
from tests.search.monitor.screens import (
    CLASSES,
    COLOUR,
    ESCAPE,
    HIDE_CURSOR,
    NOTE,
    SHOW_CURSOR,
    SUMMARY,
    TICK,
    WARNING,
    WORDS,
    Now,
    Terminal,
    live,
    whole_run,
)


def test_candidates_are_counted_and_the_best_is_shown():
    monitor, terminal = live(100)
    monitor.tick(Tick("search 2", 0, 1, 11, 64, None, 0.8732, {}, {}, {}, run_fraction=0.25))
    assert "search 2  candidate 12/64  best accuracy 87.32%" in ESCAPE.sub("", terminal.getvalue())


@pytest.mark.parametrize("term, kind", [("xterm-256color", LiveMonitor), ("dumb", PlainMonitor)])
def test_a_terminal_gets_the_live_display_unless_it_cannot_move_its_cursor(monkeypatch, term, kind):
    monkeypatch.setenv("TERM", term)
    monitor = terminal_monitor(Terminal(), WORDS)
    assert isinstance(monitor, kind)
    monitor.close({})


def test_a_warning_is_red_unless_colours_are_off_and_stays_within_the_width():
    for no_color in (False, True):
        monitor, terminal = live(40, no_color=no_color)
        monitor.close(SUMMARY | {"warnings": [WARNING | {"cause": "It has a cause of many words. " * 5}]})
        assert ("\x1b[1;31mWARNING" in terminal.getvalue()) == (not no_color)
        assert max(len(ESCAPE.sub("", line)) for line in re.split(r"[\r\n]+", terminal.getvalue())) <= 40


@pytest.mark.parametrize("width", [100, 60, 40])
def test_the_table_of_classes_stays_within_the_width(width):
    monitor, terminal = live(width)
    monitor.close(SUMMARY | {"classes": CLASSES})
    lines = [ESCAPE.sub("", line) for line in re.split(r"[\r\n]+", terminal.getvalue())]
    assert max(map(len, lines)) <= width and any("75.00%" in line and "100.00%" in line for line in lines)


@pytest.mark.parametrize("width", [100, 80, 60, 40])
def test_live_shows_everything_and_stays_within_the_width(width):
    monitor, terminal = live(width)
    whole_run(monitor)
    lines = [ESCAPE.sub("", line) for line in re.split(r"[\r\n]+", terminal.getvalue())]
    assert max(map(len, lines)) <= width
    screen = "\n".join(lines)
    for part in ("epoch 3/40", "step 10/390", "loss 0.4313", "accuracy 87.32%", "31.2/24.0 kB", "130% OVER", "94%"):
        assert part in screen
    assert NOTE in screen
    assert ("━" in screen) == (width >= 60)


def test_broken_budget_is_red_and_kept_budget_green_unless_colours_are_off():
    for no_color in (False, True):
        monitor, terminal = live(100, no_color=no_color)
        whole_run(monitor)
        for coloured in ("\x1b[31m130% OVER", "\x1b[32m94%"):
            assert (coloured in terminal.getvalue()) == (not no_color)
        assert bool(COLOUR.search(terminal.getvalue())) == (not no_color)


def test_redraws_are_few_however_many_ticks():
    now = Now()
    monitor, terminal = live(100, now)
    for step in range(1000):
        now.seconds = step / 100
        monitor.tick(replace(TICK, step=step))
    redraws = terminal.getvalue().count("epoch 3/40")
    monitor.close({})
    assert 0.9 * 10 / REDRAW_SECONDS <= redraws <= 10 / REDRAW_SECONDS + 1


def test_log_lines_stand_above_the_state():
    monitor, terminal = live(100)
    monitor.tick(TICK)
    before = len(terminal.getvalue())
    monitor.note("something happened")
    after = terminal.getvalue()[before:]
    monitor.close({})
    assert 0 <= after.index("something happened") < after.index("epoch 3/40")


def test_cursor_comes_back():
    monitor, terminal = live(100)
    monitor.tick(TICK)
    assert HIDE_CURSOR in terminal.getvalue()
    assert SHOW_CURSOR not in terminal.getvalue()
    monitor.close({})
    assert terminal.getvalue().rindex(SHOW_CURSOR) > terminal.getvalue().rindex(HIDE_CURSOR)


@pytest.mark.parametrize("value", [nan, inf])
def test_a_run_that_diverged_can_still_be_watched(value):
    monitor, terminal = live(100)
    monitor.tick(replace(TICK, loss=value, costs={"flash_bytes": value}))
    monitor.close({})
    assert f"loss {value:.4f}" in ESCAPE.sub("", terminal.getvalue())


def test_the_live_display_shows_progress_until_training_goes_on():
    now = Now()
    monitor, terminal = live(100, now)
    now.seconds = 61.0
    monitor.progress("measure on test data", 256, 2000)
    assert "measure on test data: 256 of 2,000 images  1:01" in ESCAPE.sub("", terminal.getvalue())
    now.seconds = 62.0
    monitor.tick(TICK)
    assert ESCAPE.sub("", terminal.getvalue()).count("images") == 1
    monitor.close({})
