"""The backend of Cortex-M: the same C, built for a core and run by an emulator of it."""

from pathlib import Path

from search.atomic import write_text
from search.compilers import version
from search.deploy.backends import DEFAULTS, Options, Runner
from search.deploy.c import backend as c
from search.deploy.c.manifest import MANIFEST, Manifest
from search.deploy.cortex_m.build import OPTIONS, Build
from search.deploy.cortex_m.cores import core_of
from search.deploy.cortex_m.firmware import firmware
from search.deploy.cortex_m.image import built
from search.deploy.cortex_m.traced import Traced
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
    write_text(folder / FILE, Build(folder, options).to_json())
    return folder / FILE


def about(file: Path) -> str:
    """Of the image, which is built. See `search.deploy.backends.Backend`."""
    return built(file).line()


def linked(file: Path) -> dict[str, int]:
    """Flash and RAM of the image. See `search.deploy.backends.ImageBuilder`."""
    image = built(file)
    return {"image_flash_bytes": image.flash_bytes, "image_ram_bytes": image.ram_bytes}


def opened(file: Path) -> dict[str, Runner]:
    """The emulated core. See `search.deploy.backends.Backend`."""
    build = Build.read(file)
    traced = Traced(build, Manifest.read(file.with_name(MANIFEST)))
    return {f"{build.core.cpu}, emulated, {version(build.command)} {OPTIONS[build.options.optimize]}": traced}
