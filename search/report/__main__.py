"""`picojoule report RUN [RUN ...] [--output report.html]`"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from search.monitor.failures import ending
from search.report import REPORT_FILE, write_report


def main(arguments: Sequence[str] | None = None) -> None:
    """Args: arguments: None takes those of the process."""
    parser = argparse.ArgumentParser(
        prog="picojoule report", description="One HTML file about one run or several, for any browser."
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a run, runs/NAME/TIME")
    parser.add_argument(
        "--output", type=Path, help=f"the file; default: RUN/{REPORT_FILE}, of several runs ./{REPORT_FILE}"
    )
    given = parser.parse_args(arguments)
    alone = len(given.runs) == 1
    output = given.output or (given.runs[0] / REPORT_FILE if alone else Path(REPORT_FILE))
    with ending():
        faults = write_report(given.runs, output)
    for fault in faults:
        print(f"picojoule: {fault}", file=sys.stderr)
    print(f"{output}: {output.stat().st_size / 1024:.0f} kB")


if __name__ == "__main__":
    main()
