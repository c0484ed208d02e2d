"""The backend of Cortex-M: the same C, built for a core and run by an emulator of it."""

import json
from pathlib import Path

from search.atomic import write_text
from search.deploy.backends import DEFAULTS, Options, Runner
from search.deploy.c import backend as c
from search.deploy.c.compilers import version
from search.deploy.c.manifest import Manifest
from search.deploy.cortex_m.cores import CORES, core_of, toolchain
from search.deploy.cortex_m.firmware import firmware
from search.deploy.cortex_m.traced import Traced
from search.errors import FileError
from search.integer.program import Program

FILE = "image.json"


def write(program: Program, folder: Path, options: Options = DEFAULTS) -> Path:
    """Writes the C of a program, start-up code, and a map of the memory.

    Raises:
        UsageError: there is no such core.
    """
    core_of(options.target)
    manifest = Manifest.read(c.write(program, folder, options))
    for name, text in firmware(manifest).items():
        write_text(folder / name, text)
    write_text(folder / FILE, json.dumps({"target": options.target}) + "\n")
    return folder / FILE


def opened(file: Path) -> dict[str, Runner]:
    """The emulated core. See `search.deploy.backends.Backend`."""
    try:
        core = CORES[json.loads(file.read_text())["target"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FileError(None, f"{file}: names no core ({error!r}). Export the run again.") from error
    command = toolchain(core)
    traced = Traced(file.parent, Manifest.read(file.with_name(c.FILE)), core, command)
    return {f"{core.cpu}, emulated, {version(command)}": traced}
