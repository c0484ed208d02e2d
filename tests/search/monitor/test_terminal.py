import io
import re
from dataclasses import replace
from math import inf, nan

import pytest
from rich.console import Console

from search.monitor.events import EpochEnd, LayerRow, Monitor, Monitors, Tick, Totals
from search.monitor.quiet import QuietMonitor
from search.monitor.tables import LITERAL, layer_table
from search.monitor.terminal import REDRAW_SECONDS, LiveMonitor, PlainMonitor, against, quantity, terminal_monitor
from search.tasks.class_scores import figures_of
from search.tasks.class_words import ClassWords

WORDS = ClassWords()
ESCAPE = re.compile(r"\x1b\[[?0-9;]*[A-Za-z]")
COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-9][0-9;]*m")
HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"

COSTS = {"flash_bytes": 31949.0, "peak_ram_bytes": 15360.0, "macs": 1.23e6}
BUDGETS = {"flash_bytes": 24576.0, "peak_ram_bytes": 16384.0}
UNITS = {"flash_bytes": "B", "peak_ram_bytes": "B", "macs": "MAC"}
SCALARS = {"loss/train": 0.43125, "accuracy/train": 0.8732, "loss/val": 0.5, "accuracy/val": 0.85, "temperature": 1.0}
TICK = Tick("search", 2, 40, 9, 390, 0.43125, 0.8732, COSTS, BUDGETS, UNITS, run_fraction=0.25)
END = EpochEnd("search", 2, 40, 12, SCALARS | {f"cost/{name}": cost for name, cost in COSTS.items()}, bits={}, gates={})
NOTE = "a note with [bold]brackets[/bold]"
ROWS = [
    LayerRow("stem", "conv", 16, 16, {2: 1, 8: 12, 4: 3}, 1234, 230400, 15000),
    LayerRow("blocks.0.pointwise", "linear", 2, 4, {0: 2, 8: 2}, 66, 4100, 900),
    LayerRow("add", "add", 16, 16, {}, 0, 0, 800),
]
TOTALS = Totals(flash_bytes=1300, macs=234500, peak_ram_bytes=15000, peak_ram_layer="stem")
ACCURACY = {"val": 0.9, "test": 0.875}
SUMMARY = {
    "experiment": "kws",
    "seed": 0,
    "architecture": "9f3c1a",
    "accuracy": {"float": ACCURACY, "decided": ACCURACY, "integer": ACCURACY},
    "costs": {
        "flash_bytes": {"seed_network": 102400, "found": 24371, "unit": "B"},
        "peak_ram_bytes": {"seed_network": 40960, "found": 17000, "unit": "B"},
        "macs": {"seed_network": 4912345, "found": 1912345, "unit": "MAC"},
    },
    "budgets": {
        "flash_bytes": {"limit": 24576, "found": 24371, "met": True},
        "peak_ram_bytes": {"limit": 16384, "found": 17000, "met": False},
    },
    "mismatches": {"numpy": 0, "onnx": 3, "tensors_compared": 214, "elements_compared": 1204331},
    "seconds": {"search": 100.04, "total": 150.3},
    "folder": "runs/kws/1",
}
SUMMARY_TEXT = """\
experiment         kws
seed               0
architecture       9f3c1a
accuracy, float    val 90.00%, test 87.50%
accuracy, decided  val 90.00%, test 87.50%
accuracy, integer  val 90.00%, test 87.50%
flash_bytes        24,371 B, was 102,400, limit 24,576: met
peak_ram_bytes     17,000 B, was 40,960, limit 16,384: OVER
macs               1,912,345 MAC, was 4,912,345
mismatches         numpy 0, onnx 3 of 1,204,331 elements in 214 tensors
seconds            search 100.0, total 150.3
run folder         runs/kws/1
"""
CLASSES = {"val": {"balanced_accuracy": 0.5}, "test": figures_of([[3, 1], [0, 0]]), "names": ["cat", "T-shirt/top"]}
CLASSES_TEXT = """\
classes on test data
class        images  recall  precision  most often taken for
cat               4  75.00%    100.00%  T-shirt/top, 25.00%
T-shirt/top       0       -      0.00%  -
"""
WARNING = {"name": "at_chance", "seen": "It is seen.", "cause": "It is caused.", "advice": "train.x=1."}
WARNING_TEXT = """\
WARNING       at_chance
seen          It is seen.
likely cause  It is caused.
set           train.x=1.
"""
TABLE_TEXT = """\
layer               op       kept  bits          flash B     MACs   RAM B
stem                conv    16/16  8:12 4:3 2:1    1,234  230,400  15,000
blocks.0.pointwise  linear    2/4  8:2                66    4,100     900
add                 add     16/16                      0        0     800
total                       34/36                  1,300  234,500  15,000
8:12 is 12 channels with 8 bits. RAM peaks at stem.
"""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Now:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def live(width: int, now: Now | None = None, no_color: bool = False) -> tuple[LiveMonitor, Terminal]:
    terminal = Terminal()
    size = {"width": width, "height": 30}
    colours = {"force_terminal": True, "color_system": "standard", "no_color": no_color}
    console = Console(file=terminal, **size, **colours, **LITERAL, legacy_windows=False, _environ={})
    return LiveMonitor(console, WORDS, now or Now()), terminal


def test_candidates_are_counted_and_the_best_is_shown():
    monitor, terminal = live(100)
    monitor.tick(Tick("search 2", 0, 1, 11, 64, None, 0.8732, {}, {}, {}, run_fraction=0.25))
    assert "search 2  candidate 12/64  best accuracy 87.32%" in ESCAPE.sub("", terminal.getvalue())


def whole_run(monitor: Monitor) -> None:
    monitor.note(NOTE)
    monitor.tick(TICK)
    monitor.epoch(END)
    monitor.progress("verify", 0, 100)
    monitor.table(ROWS, TOTALS)
    monitor.close(SUMMARY)


def printed(table, width: int) -> list[str]:
    console = Console(width=width, color_system=None, force_terminal=False, **LITERAL)
    with console.capture() as capture:
        console.print(table)
    return [line.rstrip() for line in capture.get().splitlines()]


def test_a_pipe_gets_plain_text_even_where_colour_is_forced(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    stream = io.StringIO()
    monitor = terminal_monitor(stream, WORDS)
    whole_run(monitor)
    assert isinstance(monitor, PlainMonitor)
    assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize("term, kind", [("xterm-256color", LiveMonitor), ("dumb", PlainMonitor)])
def test_a_terminal_gets_the_live_display_unless_it_cannot_move_its_cursor(monkeypatch, term, kind):
    monkeypatch.setenv("TERM", term)
    monitor = terminal_monitor(Terminal(), WORDS)
    assert isinstance(monitor, kind)
    monitor.close({})


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


def test_a_quiet_run_shows_its_folder_alone():
    stream = io.StringIO()
    whole_run(QuietMonitor(stream))
    QuietMonitor(stream).close({})
    assert stream.getvalue() == "runs/kws/1\n"
