"""passes.c and batch.c: compiled for this machine once, kept, and compared with torch whenever they are loaded."""

import hashlib
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from ctypes import CDLL
from functools import lru_cache
from pathlib import Path
from platform import machine
from typing import NamedTuple

import torch

from search.compilers import compiled, compiler
from search.errors import BuildFailed
from spaces.passes.comparison import differing
from spaces.passes.compiled import Compiled
from spaces.passes.passes import Passes

HEADER, *SOURCES = (Path(__file__).with_name(name) for name in ("passes.h", "passes.c", "batch.c"))
WHOLE = b"picojoule: whole"  # ends a file that was kept; one that was cut off would kill the process
TEAMS = ("OMP_DYNAMIC", "OMP_THREAD_LIMIT", "OMP_MAX_ACTIVE_LEVELS")  # which torch's teams may not reach
SWITCH = "PICOJOULE_COMPILE"  # 0: nothing is compiled
FLAGS = (
    *("-O3", "-shared", "-fPIC", "-fopenmp", "-fvisibility=hidden"),
    *("-fno-fast-math", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"),
)
PROCESSORS = {"AVX512": ("-march=x86-64-v4",), "AVX2": ("-march=x86-64-v3",)}  # as torch names them
X86 = ("x86_64", "AMD64")


class Library(NamedTuple):
    """Attributes: passes: None: there are none. why: in words, what there is or why not."""

    passes: Passes | None
    why: str


@lru_cache(maxsize=1)
def library() -> Library:
    """The passes in C, where this machine can have them. They are compiled at the first call."""
    if os.environ.get(SWITCH) == "0":
        return Library(None, f"{SWITCH} is 0")
    if sys.platform != "linux":
        return Library(None, "they are made on Linux alone, where torch and gcc share one OpenMP")
    if machine() in X86 and torch.backends.cpu.get_cpu_capability() not in PROCESSORS:
        return Library(None, "this processor has no AVX2")
    limits = [name for name in TEAMS if name in os.environ]
    if limits:
        return Library(None, f"{limits[0]} is set, so that torch may sum in fewer parts than it has threads")
    before = _runtimes()
    try:
        made = Compiled(_loaded(compiler()))
    except BuildFailed as error:
        command, said = str(error).split("\n")[:2]
        return Library(None, f"{said or 'it fails'} (of {command.split(' ')[0].strip('`')})")
    except (ValueError, OSError, RuntimeError, AttributeError) as error:  # no compiler, no home, another library
        return Library(None, str(error))
    more = _runtimes() - before
    if more:
        return Library(None, f"threads of {Path(min(more)).name} would wait for those of torch; set CC to gcc")
    wrong = differing(made)
    if wrong:
        return Library(None, f"torch computes other bits on this machine ({', '.join(wrong)})")
    return Library(made, "compiled")


def _runtimes() -> set[str]:
    """The OpenMP runtimes of this process."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return {line.split()[-1] for line in lines if any(name in line for name in ("libgomp", "libomp", "libiomp"))}


def _loaded(command: Sequence[str]) -> CDLL:
    """The library. A file that was kept and is not whole, or not ours, is made anew."""
    options = (*FLAGS, *PROCESSORS.get(torch.backends.cpu.get_cpu_capability(), ()))
    content = "\0".join((*(file.read_text() for file in (HEADER, *SOURCES)), *command, *options))
    file = _folder() / f"passes-{hashlib.sha256(content.encode()).hexdigest()[:16]}.so"
    with suppress(OSError):
        if file.stat().st_uid == os.getuid() and file.read_bytes().endswith(WHOLE):
            return CDLL(str(file))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        return _built(command, options, file)
    except OSError:  # nothing can be kept: it is for this process alone
        with tempfile.TemporaryDirectory() as folder:
            return _built(command, options, Path(folder) / file.name)


def _built(command: Sequence[str], options: Sequence[str], file: Path) -> CDLL:
    """The library, compiled to a file that appears whole, whoever else makes it at the same time."""
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        made = Path(folder) / file.name
        compiled(command, SOURCES, made, options)
        with made.open("ab") as end:
            end.write(WHOLE)
        made.replace(file)
    return CDLL(str(file))


def _folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "picojoule"
