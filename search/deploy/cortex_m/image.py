"""What a built image takes of a chip: the bytes that are linked, and the stack that is used."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from elftools.elf.elffile import ELFFile

from search.deploy.backends import Options
from search.deploy.c.manifest import MANIFEST, Manifest
from search.deploy.c.project import names
from search.deploy.cortex_m.build import Build
from search.deploy.cortex_m.emulator import Emulator
from search.errors import UsageError


@dataclass(frozen=True)
class Image:
    """Bytes of an image, start-up code and vectors included, and what the network is given and returns left out.

    Attributes:
        flash_bytes: code, constants, and what initialises memory.
        ram_bytes: all that is linked there, and the stack.
        constants_bytes, code_bytes: of flash_bytes those of the network's constants, and of functions.
        arena_bytes, stack_bytes: of ram_bytes those of tensors with working memory, and the most that the stack held in
            an emulated run.
        functions, arrays: by name, in bytes.
    """

    flash_bytes: int
    ram_bytes: int
    constants_bytes: int
    code_bytes: int
    arena_bytes: int
    stack_bytes: int
    functions: Mapping[str, int] = field(default_factory=dict)
    arrays: Mapping[str, int] = field(default_factory=dict)

    def line(self) -> str:
        """For the terminal."""
        flash = f"{self.constants_bytes:,} of constants, {self.code_bytes:,} of code"
        ram = f"{self.arena_bytes:,} of the arena, {self.stack_bytes:,} of the stack"
        return f"image: {self.flash_bytes:,} bytes of flash ({flash}), {self.ram_bytes:,} of RAM ({ram})"

    def refuse_larger(self, options: Options) -> None:
        """Raises UsageError where the image takes more than it may."""
        each = (("flash", self.flash_bytes, options.flash_bytes), ("RAM", self.ram_bytes, options.ram_bytes))
        wrong = [
            f"{taken:,} bytes of {what}, of which there are {limit:,}"
            for what, taken, limit in each
            if limit is not None and taken > limit
        ]
        if wrong:
            raise UsageError(
                f"cortex_m: the image takes {'; '.join(wrong)} ({self.line()}). Export with --optimize size, or search "
                "with a smaller budget."
            )


def built(file: Path) -> Image:
    """Builds the image of what `search.deploy.cortex_m.backend.write` wrote, and measures it.

    Args:
        file: what that returned.

    Raises:
        MissingTool: there is no compiler for the core.
        UsageError: it fails, or the image takes more than it may.
    """
    build, manifest = Build.read(file), Manifest.read(file.with_name(MANIFEST))
    with TemporaryDirectory(prefix="picojoule-") as folder:
        elf = Path(folder) / "image.elf"
        build.link("image.c", elf)
        emulator = Emulator(elf, build.core)
        ends = (("in", manifest.inputs), ("out", manifest.outputs))
        pointers = [emulator.symbols[name] for what, own in ends for name in names(what, own)]
        stack = emulator.call("network_run", *pointers).stack
        with elf.open("rb") as opened:
            image = _measured(ELFFile(opened), manifest, stack)
    image.refuse_larger(build.options)
    return image


def _measured(elf: ELFFile, manifest: Manifest, stack: int) -> Image:
    flash = sum(segment["p_filesz"] for segment in elf.iter_segments("PT_LOAD"))
    sections = {section.name: section["sh_size"] for section in elf.iter_sections()}
    symbols = list(elf.get_section_by_name(".symtab").iter_symbols())
    text = next(i for i, section in enumerate(elf.iter_sections()) if section.name == ".text")
    own = [each for each in symbols if each["st_shndx"] == text]
    names = {
        kind: {each["st_value"]: each for each in own if each["st_info"]["type"] == kind}.values()  # aliases once
        for kind in ("STT_FUNC", "STT_OBJECT")
    }
    functions, arrays = ({each.name: each["st_size"] for each in names[kind]} for kind in ("STT_FUNC", "STT_OBJECT"))
    ram = sections.get(".data", 0) + sections.get(".bss", 0)
    sums = sum(arrays.values()), sum(functions.values())
    return Image(flash, ram + stack, *sums, manifest.arena_bytes, stack, functions, arrays)
