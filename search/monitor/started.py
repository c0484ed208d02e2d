"""How the process was started, for the commands that it prints: these have to work in the same place."""

import sys
from pathlib import Path

CONSOLE = "picojoule"  # the command that is installed, see pyproject.toml
MODULE = "search"


def started_as() -> list[str]:
    """The words of the command before its arguments: ["picojoule"], or ["python", "-m", "search"].

    One cannot stand for the other. Where the user's folder holds a search.py, Python takes that for `-m search`. Where
    the package is not installed there is no `picojoule`.
    """
    if Path(sys.argv[0]).name == CONSOLE:
        return [CONSOLE]
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    module = spec.name.removesuffix(".__main__") if spec is not None else MODULE
    return ["python", "-m", module if module.partition(".")[0] == MODULE else MODULE]
