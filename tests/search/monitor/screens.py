"""A run as monitors are told of it, what they have to write of it, and terminals that remember what is written."""

import io
import re

from rich.console import Console

from search.monitor.events import EpochEnd, LayerRow, Monitor, Tick, Totals
from search.monitor.tables import LITERAL
from search.monitor.terminal import LiveMonitor
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
