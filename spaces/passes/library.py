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
from search.errors import BuildFailed, MissingTool
from spaces.passes.comparison import differing
from spaces.passes.compiled import Compiled

HEADER, *SOURCES = (Path(__file__).with_name(name) for name in ("passes.h", "passes.c", "batch.c"))
SWITCH = "PICOJOULE_COMPILE"  # 0: nothing is compiled
FLAGS = (
    *("-O3", "-shared", "-fPIC", "-fopenmp", "-fvisibility=hidden"),
    *("-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"),
)
PROCESSORS = {"AVX512": ("-march=x86-64-v4",), "AVX2": ("-march=x86-64-v3",)}  # as torch names them
INTEL = ("x86_64", "AMD64")


class Library(NamedTuple):
    """Attributes: passes: None: there are none. why: in words, what there is or why not."""

    passes: Compiled | None
    why: str


@lru_cache(maxsize=1)
def library() -> Library:
    """The passes in C, where this machine can have them. They are compiled at the first call."""
    if os.environ.get(SWITCH) == "0":
        return Library(None, f"{SWITCH} is 0")
    if sys.platform != "linux":
        return Library(None, "they are made on Linux alone, where torch's threads are those of a compiler")
    if machine() in INTEL and torch.backends.cpu.get_cpu_capability() not in PROCESSORS:
        return Library(None, "this processor has no AVX2")
    try:
        made = Compiled(_loaded(compiler()))
    except BuildFailed as error:
        command, said = str(error).split("\n")[:2]
        return Library(None, f"{said or 'it fails'} (of {command.split(' ')[0].strip('`')})")
    except (MissingTool, OSError) as error:
        return Library(None, str(error))
    wrong = differing(made)
    if wrong:
        return Library(None, f"torch computes other bits on this machine ({', '.join(wrong)})")
    return Library(made, "compiled")


def _loaded(command: Sequence[str]) -> CDLL:
    """The library. A file that was kept and cannot be loaded is made anew."""
    options = (*FLAGS, *PROCESSORS.get(torch.backends.cpu.get_cpu_capability(), ()))
    content = "\0".join((*(file.read_text() for file in (HEADER, *SOURCES)), *command, *options))
    file = _folder() / f"passes-{hashlib.sha256(content.encode()).hexdigest()[:16]}.so"
    with suppress(OSError):
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
        partial = Path(folder) / file.name
        compiled(command, SOURCES, partial, options)
        partial.replace(file)
    return CDLL(str(file))


def _folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "picojoule"
