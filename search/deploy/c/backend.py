"""The backend of C: a folder of C99, and a compiler of this computer."""

from pathlib import Path

from search.atomic import write_text
from search.compilers import compiler, version
from search.deploy.backends import DEFAULTS, SIZE, Options, Runner
from search.deploy.c.manifest import MANIFEST, Manifest
from search.deploy.c.network import generated
from search.deploy.c.project import project
from search.deploy.c.traced import Traced
from search.integer.program import Program

OPTIONS = ("-O2",)


def write(program: Program, folder: Path, options: Options = DEFAULTS) -> Path:
    """Writes the C of a program: network.h, network.c, weights.c, a self-test, and what builds them."""
    made = generated(program, options.optimize == SIZE)
    manifest = Manifest.of(program, made)
    for name, text in {**made.files, **project(program, manifest)}.items():
        write_text(folder / name, text)
    write_text(folder / MANIFEST, manifest.to_json())
    return folder / MANIFEST


def about(file: Path) -> str:
    """Of the memory that it works in."""
    manifest = Manifest.read(file)
    return f"{manifest.arena_bytes:,} bytes of RAM for tensors, of which {manifest.arena_bound:,} are live at once"


def opened(file: Path) -> dict[str, Runner]:
    """The program that a compiler of this computer makes. See `search.deploy.backends.Backend`."""
    command = compiler()
    traced = Traced(file.parent, Manifest.read(file), command, OPTIONS)
    return {f"C, {version(command)} {' '.join(OPTIONS)}": traced}
