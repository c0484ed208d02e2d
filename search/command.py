"""The command: `picojoule`, or `python -m search`. Its first word may name one of COMMANDS; else it is a search."""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from search import application, certify, compare, evaluate, export
from search.config.refusals import near
from search.files.versions import versions
from search.monitor.started import CONSOLE
from search.report import __main__ as report


@dataclass(frozen=True)
class Command:
    """A command of its own, which takes its arguments without the word that names it."""

    arguments: str
    does: str
    main: Callable[[Sequence[str]], None]


COMMANDS = {
    "certify": Command("RUN [--log FILE]", "the same inputs through training and every backend", certify.main),
    "report": Command("RUN [RUN ...]", "one HTML file about one run or several", report.main),
    "compare": Command("RUN [RUN ...]", "runs side by side in the terminal", compare.main),
    "evaluate": Command("RUN --backend NAME", "what the network of a run scores on a backend", evaluate.main),
    "export": Command("RUN --to NAME", "the network of a run for a backend, such as ONNX", export.main),
}
SEARCHES = {
    "+experiment=NAME [KEY=VALUE ...]": "a search; --config-dir=FOLDER finds experiments of your own",
    "resume=FOLDER": "goes on with a run that was stopped",
    "-m +experiment=NAME KEY=VALUE,VALUE": "a sweep: a run for each combination of values",
    "--version": "the version",
}


def main() -> None:
    """Does what the words behind the command ask for."""
    given = sys.argv[1:]
    _find_modules()
    if given and given[0] in COMMANDS:
        COMMANDS[given[0]].main(given[1:])
    elif given == ["--version"]:
        print(f"{CONSOLE} {versions()[CONSOLE]}")
    else:
        if {"--help", "-h"} & set(given):
            print(usage())
        _refuse_no_command(given)
        application.main()


def _refuse_no_command(given: Sequence[str]) -> None:
    """Ends where the first word is neither a command, nor KEY=VALUE, nor a flag."""
    if given and "=" not in given[0] and not given[0].startswith(("-", "~")):
        sys.exit(
            f"{CONSOLE}: there is no command '{given[0]}'. There are {', '.join(near(given[0], COMMANDS))}, and a "
            "search takes words of the form KEY=VALUE. --help shows all forms."
        )


def _find_modules() -> None:
    """Lets networks be imported from the folder in which `picojoule` is started; `python -m` does so by itself.

    Our own folder stands before it, so that a search.py there hides nothing from processes that this one starts.
    """
    for folder in (str(Path(__file__).resolve().parents[1]), os.getcwd()):
        if folder not in sys.path:
            sys.path.append(folder)


def usage() -> str:
    """All forms of the command, a line each."""
    forms = SEARCHES | {f"{name} {command.arguments}": command.does for name, command in COMMANDS.items()}
    width = max(map(len, forms))
    lines = [f"  {CONSOLE} {form:{width}}  {does}" for form, does in forms.items()]
    return "\n".join(["Usage (`python -m search` does the same as `picojoule`):", "", *lines, ""])
