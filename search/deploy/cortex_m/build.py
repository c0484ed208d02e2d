"""How the files in a folder become programs of a core."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from search.compilers import compiled
from search.deploy.backends import SIZE, SPEED, Options
from search.deploy.cortex_m.cores import Core, core_of, toolchain
from search.errors import FileError

SOURCES = ("network.c", "weights.c", "startup.c")
OPTIONS = {SPEED: "-O3", SIZE: "-O2"}
SECTIONS = ("-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections")


@dataclass(frozen=True)
class Build:
    """Files for a core, and what they were written for."""

    folder: Path
    options: Options

    def to_json(self) -> str:
        return json.dumps(asdict(self.options)) + "\n"

    @staticmethod
    def read(file: Path) -> "Build":
        """What `to_json` gave. Raises FileError where the file is another."""
        try:
            options = Options(**json.loads(file.read_text()))
            core_of(options.target)
        except OSError as error:
            raise FileError(error.errno, f"{file}: cannot be read ({error.strerror}). Export the run again.") from error
        except (ValueError, TypeError) as error:
            raise FileError(None, f"{file}: names no core ({error}). Export the run again.") from error
        return Build(file.parent, options)

    @property
    def core(self) -> Core:
        return core_of(self.options.target)

    @property
    def command(self) -> list[str]:
        """Of the compiler, and its options. Raises MissingTool where there is none."""
        return [*toolchain(self.core), OPTIONS[self.options.optimize]]

    def link(self, main: str, elf: Path, more: Sequence[str] = ()) -> None:
        """Compiles the network and a file beside it into an ELF file.

        Raises:
            MissingTool: there is no compiler for the core.
            UsageError: it fails.
        """
        sources = [self.folder / name for name in (*SOURCES, main)]
        compiled(self.command, sources, elf, [*more, *SECTIONS, f"-Wl,-T,{self.folder / 'image.ld'}"])
