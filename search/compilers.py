"""Compilers of C on this computer."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from search.errors import BuildFailed, MissingTool

WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-pedantic")
SECONDS = 600  # that a compiler may take
SHOWN = 2000  # characters of what a compiler says


def compiler() -> list[str]:
    """The command of a C compiler: $CC, gcc, clang, cc, or the one of the package ziglang.

    Raises:
        MissingTool: there is none.
    """
    try:
        named = shlex.split(os.environ.get("CC", ""))
    except ValueError as error:
        raise MissingTool(f"CC is {os.environ['CC']!r}, which is no command ({error}).") from error
    if named:
        return named
    for name in ("gcc", "clang", "cc"):
        if shutil.which(name):
            return [name]
    if find_spec("ziglang") is not None:
        return [sys.executable, "-m", "ziglang", "cc"]
    raise MissingTool("c: no C compiler found (gcc, clang, cc). Install one, or `pip install ziglang`, or set CC.")


def compiled(command: Sequence[str], sources: Sequence[Path], target: Path, options: Sequence[str] = ()) -> None:
    """Compiles and links.

    Raises:
        MissingTool: the compiler cannot be run.
        BuildFailed: it fails, with its message.
    """
    line = [*command, "-std=c99", *options, "-o", str(target), *map(str, sources)]
    try:
        done = subprocess.run(
            line, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL, timeout=SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise BuildFailed(f"`{shlex.join(line)}` did not end:\nno answer in {SECONDS} seconds") from error
    except OSError as error:
        raise MissingTool(f"{command[0]} cannot be run ({error.strerror}). Install it, or set CC.") from error
    if done.returncode:
        raise BuildFailed(
            f"`{shlex.join(line)}` failed ({done.returncode}):\n{done.stderr.strip()[:SHOWN]}\n"
            f"The generated files are in {sources[0].parent}."
        )


def version(command: Sequence[str]) -> str:
    """The name and version of a compiler, as it says itself."""
    said = subprocess.run([*command, "--version"], capture_output=True, text=True).stdout.splitlines()
    return said[0] if said else command[0]
