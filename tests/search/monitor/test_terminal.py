"""The plain monitor, and the tables that all monitors share."""

import io
from dataclasses import replace
from math import nan

import pytest
from rich.console import Console

from search.monitor.events import Monitors
from search.monitor.quiet import QuietMonitor
from search.monitor.tables import layer_table
from search.monitor.terminal import PlainMonitor, against, quantity, terminal_monitor
from search.tasks.class_scores import figures_of
from tests.search.monitor.screens import (
    ACCURACY,
    CLASSES,
    CLASSES_TEXT,
    END,
    NOTE,
    ROWS,
    SUMMARY,
    SUMMARY_TEXT,
    TABLE_TEXT,
    TICK,
    TOTALS,
    WARNING,
    WARNING_TEXT,
    WORDS,
    Now,
    printed,
    whole_run,
)


def test_a_pipe_gets_plain_text_even_where_colour_is_forced(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    stream = io.StringIO()
    monitor = terminal_monitor(stream, WORDS)
    whole_run(monitor)
    assert isinstance(monitor, PlainMonitor)
    assert "\x1b" not in stream.getvalue()


def test_plain_run_to_the_letter():
    stream, now = io.StringIO(), Now()
    monitor = PlainMonitor(stream, WORDS, now)
    monitor.tick(replace(TICK, run_fraction=0.0))
    now.seconds = 61.0
    whole_run(monitor)
    line = (
        "search epoch 3/40  train loss 0.4313  train acc 87.32%  val loss 0.5000  val acc 85.00%  "
        "flash_bytes 31.2/24.0 kB OVER  peak_ram_bytes 15.0/16.0 kB  macs 1.2 M MAC  time 1:01, 3:03 left\n"
    )
    assert stream.getvalue() == NOTE + "\n" + line + TABLE_TEXT + "\n" + SUMMARY_TEXT


def test_classes_have_a_table_before_the_summary_and_a_line_in_it():
    stream = io.StringIO()
    PlainMonitor(stream, WORDS).close(SUMMARY | {"classes": CLASSES})
    integer = "accuracy, integer  val 90.00%, test 87.50%\n"
    balanced = "balanced accuracy  val 50.00%, test 75.00%\n"
    summary = SUMMARY_TEXT.replace(integer, integer + balanced)
    assert stream.getvalue() == "\n" + CLASSES_TEXT + "\n" + summary


def test_warnings_stand_before_the_summary_and_its_last_line_names_them():
    stream = io.StringIO()
    watched = {"stages": {"float": 0.9, "decided": 0.5}, "below_float": {"val": 0.4, "test": -0.0125}}
    PlainMonitor(stream, WORDS).close(SUMMARY | watched | {"warnings": [WARNING]})
    integer = "accuracy, integer  val 90.00%, test 87.50%\n"
    below = "below float        val 40.00 points, test -1.25 points\n"
    on_the_way = "on the way         float network 90.00%, norms estimated anew 50.00%\n"
    last = "WARNING            at_chance: see above\n"
    summary = SUMMARY_TEXT.replace(integer, integer + below + on_the_way) + last
    assert stream.getvalue() == "\n" + WARNING_TEXT + "\n" + summary


def test_a_point_of_a_front_whose_accuracy_hides_a_class_says_so():
    """9 of 10 images are right, and of the classes (9 / 9 + 0 / 1) / 2; of one class with images both are 3 / 4."""
    stream = io.StringIO()
    shared = {"accuracy": {"integer": ACCURACY}, "costs": {}, "budgets": {}}
    rare = {"names": ["usual", "rare"], "test": figures_of([[9, 0], [1, 0]])}
    PlainMonitor(stream, WORDS).close(
        {"points": [shared | {"point": "a", "classes": rare}, shared | {"point": "b", "classes": CLASSES}]}
    )
    assert "a  val 90.00%, test 87.50%; balanced over classes 50.00%; met" in stream.getvalue()
    assert "b  val 90.00%, test 87.50%; met" in stream.getvalue()


def test_a_warning_of_several_points_is_shown_once_and_the_points_are_marked():
    stream = io.StringIO()
    shared = {"accuracy": {"integer": ACCURACY}, "costs": {}, "budgets": {}}
    other = WARNING | {"name": "budget_unused"}
    points = [
        shared | {"point": "flash=3", "warnings": [WARNING, other]},
        shared | {"point": "flash=2", "warnings": [WARNING, other]},
        shared | {"point": "flash=1", "warnings": [other]},
    ]
    PlainMonitor(stream, WORDS).close({"points": points})
    lines = stream.getvalue().splitlines()
    heads = [line for line in lines if line.startswith("WARNING")]
    assert heads == [
        "WARNING       at_chance at flash=3, flash=2",
        "WARNING       budget_unused",
        "WARNING  at_chance, budget_unused: see above",
    ]
    assert sum(line.endswith("; WARNING") for line in lines) == 3


def test_plain_is_ascii_on_any_stream():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monitor = PlainMonitor(stream, WORDS)
    monitor.note("layer 'größe'")
    monitor.table([replace(ROWS[0], name="größe")], TOTALS)
    assert stream.buffer.getvalue().decode("ascii").count(r"gr\xf6\xdfe") == 2


def test_epoch_without_any_tick_has_no_units_and_no_budgets():
    stream = io.StringIO()
    PlainMonitor(stream, WORDS).epoch(replace(END, scalars={"cost/flash_bytes": 31949.0}))
    assert stream.getvalue() == "search epoch 3/40  flash_bytes 31.9 k  time 0:00, ? left\n"


@pytest.mark.parametrize(
    "width, header",
    [
        (80, "layer op kept bits flash B MACs RAM B"),
        (69, "layer kept bits flash B MACs RAM B"),
        (58, "layer kept bits flash B RAM B"),
        (52, "layer kept bits flash B"),
    ],
)
def test_narrow_table_drops_whole_columns(width, header):
    lines = printed(layer_table(ROWS, TOTALS, Console(width=width)), width)
    assert lines[0].split() == header.split()
    assert "blocks.0.pointwise" in lines[2]


def test_table_of_40_columns_folds_names_but_loses_nothing():
    lines = printed(layer_table(ROWS, TOTALS, Console(width=40)), 40)
    assert max(map(len, lines)) <= 40
    name_column = "".join(line[: lines[0].index("kept") - 1].strip() for line in lines)
    assert name_column.startswith("layerstemblocks.0.pointwiseaddtotal")
    assert {"1,234", "66", "1,300"} <= set(" ".join(lines).split())


def test_a_run_that_failed_shows_as_much_of_a_summary_as_there_is():
    stream = io.StringIO()
    PlainMonitor(stream, WORDS).close({})
    assert stream.getvalue() == ""
    PlainMonitor(stream, WORDS).close({"seed": 3})
    assert stream.getvalue() == "\nseed  3\n"


@pytest.mark.parametrize(
    "value, unit, text",
    [
        (1023, "B", "1023 B"),
        (1024, "B", "1.0 kB"),
        (3 * 1024**2, "B", "3.0 MB"),
        (1.23e6, "MAC", "1.2 M MAC"),
        (0.03125, "", "0.03125"),
        (5e13, "pJ", "50000.0 G pJ"),
        (nan, "B", "nan B"),
    ],
)
def test_quantity(value, unit, text):
    assert quantity(value, unit) == text


def test_cost_takes_the_unit_of_its_limit():
    assert against(512, 24576, "B") == "0.5/24.0 kB"
    assert against(2048, 100, "B") == "2048/100 B"


def test_monitors_tell_every_monitor_in_order():
    calls = []

    class Spy:
        def __init__(self, name):
            self.name = name

        def __getattr__(self, method):
            return lambda *values: calls.append((self.name, method, *values))

    whole_run(Monitors([Spy("a"), Spy("b")]))
    told = [("note", NOTE), ("tick", TICK), ("epoch", END), ("progress", "verify", 0, 100)]
    told += [("table", ROWS, TOTALS), ("close", SUMMARY)]
    assert calls == [(name, *call) for call in told for name in "ab"]


def test_lines_of_progress_come_when_nothing_else_did_for_ten_seconds():
    stream, now = io.StringIO(), Now()
    monitor = PlainMonitor(stream, WORDS, now)
    for now.seconds in (0.0, 9.9, 10.0, 15.0, 19.9, 20.0):
        monitor.progress("verify", int(100 * now.seconds), 4000)
    now.seconds = 29.0
    monitor.note("a note")
    now.seconds = 38.0
    monitor.progress("verify", 3800, 4000)
    assert stream.getvalue().splitlines() == [
        "verify: 1,000 of 4,000 images",
        "verify: 2,000 of 4,000 images",
        "a note",
    ]


def test_a_quiet_run_shows_its_folder_alone():
    stream = io.StringIO()
    whole_run(QuietMonitor(stream))
    QuietMonitor(stream).close({})
    assert stream.getvalue() == "runs/kws/1\n"
