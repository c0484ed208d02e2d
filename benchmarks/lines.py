"""What a benchmark has measured: a JSON object a line, each for one run, in a file."""

import json
import shlex
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from threading import RLock
from typing import Any

from search.atomic import write_text

Line = dict[str, Any]
Key = tuple[str | int | float | None, ...]


class Lines:
    """Lines that are there are not measured again: copy them into a new folder, and the benchmark goes on from them."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        """Reads the lines that are there.

        Args:
            names: what tells one run from another. Lines without a seed are of no run: they sum up others.

        Raises:
            ValueError: a line that is no JSON object, or lacks one of these names or its settings.
        """
        self.path, self.runs, self._lock = path, dict[Key, Line](), RLock()
        for number, text in enumerate(path.read_text().splitlines() if path.is_file() else [], start=1):
            try:
                line = json.loads(text)
                if "seed" in line:
                    *key, _ = (line[name] for name in (*names, "settings"))
                    self.runs[tuple(key)] = line
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{path}, line {number}: damaged ({error}). Delete it to repeat that run.") from error

    def has(self, key: Key, settings: str) -> bool:
        """Raises ValueError: it was measured with other settings."""
        known = self.runs.get(key)
        if known is not None and known["settings"] != settings:
            raise ValueError(
                f"{self.path}: {key} was measured with '{known['settings']}', now it would be with '{settings}'. "
                "Delete that line to repeat it, or name another folder."
            )
        return known is not None

    def add(self, key: Key, line: Line) -> None:
        with self._lock:
            self.runs[key] = line
            print(written([line]), end="", flush=True)
            self.write()

    def write(self) -> None:
        with self._lock:
            write_text(self.path, written(list(self.runs.values())))


def written(lines: Sequence[Line]) -> str:
    return "".join(json.dumps(line) + "\n" for line in lines)


def command(name: str, given: Namespace, *options: str) -> str:
    """What was called to measure lines, for the table of them.

    Args:
        name: of the benchmark.
        options: those of `given` that decide which runs there are; what is not given is left out.
    """
    flags = [(f"--{key}", getattr(given, key)) for key in options]
    words = [word for flag, value in flags if value for word in ((flag,) if value is True else (flag, str(value)))]
    return shlex.join(["python", "-m", f"benchmarks.{name}", *words])
