"""An emulated core that runs functions of an ELF file, and counts what it executes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import unicorn
from elftools.elf.elffile import ELFFile
from unicorn import arm_const

from search.deploy.cortex_m.cores import Core
from search.errors import PicojouleError

FLASH, RAM, SIZE = 0x0, 0x20000000, 4 << 20
STACK = RAM + SIZE  # the first byte behind it
PAINTED = 1 << 16  # bytes of the stack that are watched
PAINT = 0xA5
IN_REGISTERS = 4  # arguments; the others lie on the stack
BACK = FLASH + SIZE - 16  # where a call returns to
LONG = (0b11101, 0b11110, 0b11111)  # the highest bits of a Thumb instruction of 4 bytes
# Mask and bits of the first two bytes of instructions that load. Of 2 bytes: of a literal, by a register, a word, a
# byte, half a word, from the stack, several, back from the stack. Of 4 bytes: several, two, one, floating-point.
LOADS = (
    *((0xF800, 0x4800), (0xFE00, 0x5600), (0xF800, 0x5800), (0xF800, 0x6800), (0xF800, 0x7800), (0xF800, 0x8800)),
    *((0xFE00, 0x5A00), (0xFE00, 0x5C00), (0xFE00, 0x5E00), (0xF800, 0x9800), (0xF800, 0xC800), (0xFE00, 0xBC00)),
)
WIDE_LOADS = ((0xFE50, 0xE810), (0xFE50, 0xE850), (0xFE10, 0xF810), (0xFE10, 0xEC10))


class EmulatorError(PicojouleError, RuntimeError):
    """The core came to a fault."""


@dataclass
class Counts:
    """What was executed, of one call.

    Attributes:
        loads: instructions that load.
        stack: bytes, at most.
        by_function: instructions of each function.
    """

    instructions: int = 0
    loads: int = 0
    stack: int = 0
    by_function: dict[str, int] = field(default_factory=dict)


class Emulator:
    """A core, and the program of an ELF file in its memory."""

    def __init__(self, elf: Path, core: Core) -> None:
        self._uc = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        self._uc.ctl_set_cpu_model(getattr(arm_const, core.model))
        self._uc.mem_map(FLASH, SIZE)
        self._uc.mem_map(RAM, SIZE)
        with elf.open("rb") as file:
            read = ELFFile(file)
            for segment in read.iter_segments("PT_LOAD"):
                self._uc.mem_write(
                    segment["p_vaddr"], segment.data()
                )  # at its place in RAM, as start-up code copies it
            table = read.get_section_by_name(".symtab")
            symbols = [each for each in table.iter_symbols() if each.name]
        self.symbols = {each.name: each["st_value"] & ~1 for each in symbols}
        functions = sorted(
            (each["st_value"] & ~1, each["st_size"], each.name)
            for each in symbols
            if each["st_info"]["type"] == "STT_FUNC"
        )
        self._functions = functions
        self.sizes = {name: size for _, size, name in functions}
        self.counts = Counts()  # of the call that is counted, as it goes on

    def read(self, address: int, size: int) -> bytes:
        return bytes(self._uc.mem_read(address, size))

    def write(self, address: int, content: bytes) -> None:
        self._uc.mem_write(address, content)

    def at(self, function: str, told: Callable[..., None]) -> None:
        """Calls `told` with the first three arguments whenever a function is entered."""
        registers = (arm_const.UC_ARM_REG_R0, arm_const.UC_ARM_REG_R1, arm_const.UC_ARM_REG_R2)

        def entered(uc: Any, address: int, size: int, data: Any) -> None:
            told(*(uc.reg_read(register) for register in registers))

        place = self.symbols[function]
        self._uc.hook_add(unicorn.UC_HOOK_CODE, entered, begin=place, end=place)

    def call(self, function: str, *arguments: int, counted: bool = False) -> Counts:
        """Calls a function with pointers or integers.

        Args:
            counted: whether instructions are counted, which takes longer.

        Raises:
            EmulatorError: it comes to a fault.
        """
        counts = Counts()
        self._uc.mem_write(STACK - PAINTED, bytes([PAINT]) * PAINTED)
        for number, value in enumerate(arguments[:IN_REGISTERS]):
            self._uc.reg_write(getattr(arm_const, f"UC_ARM_REG_R{number}"), value)
        others = b"".join(value.to_bytes(4, "little") for value in arguments[IN_REGISTERS:])
        top = STACK - -(-len(others) // 8) * 8
        self._uc.mem_write(top, others)
        self._uc.reg_write(arm_const.UC_ARM_REG_SP, top)
        self._uc.reg_write(arm_const.UC_ARM_REG_LR, BACK | 1)
        self.counts = counts
        hook = self._uc.hook_add(unicorn.UC_HOOK_BLOCK, self._counter(counts)) if counted else None
        self._uc.ctl_flush_tb()  # hooks are part of translated code
        try:
            self._uc.emu_start(self.symbols[function] | 1, BACK)
        except unicorn.UcError as error:
            place = self._uc.reg_read(arm_const.UC_ARM_REG_PC)
            raise EmulatorError(f"{function}: {error} at {place:#x}") from error
        finally:
            if hook is not None:
                self._uc.hook_del(hook)
        stack = self.read(STACK - PAINTED, PAINTED)
        counts.stack = len(stack.lstrip(bytes([PAINT])))
        return counts

    def _counter(self, counts: Counts) -> Callable[..., None]:
        known = dict[tuple[int, int], tuple[int, int, str]]()

        def entered(uc: Any, address: int, size: int, data: Any) -> None:
            block = known.get((address, size))
            if block is None:
                block = known[address, size] = *_counted(self.read(address, size)), self._name(address)
            instructions, loads, function = block
            counts.instructions += instructions
            counts.loads += loads
            counts.by_function[function] = counts.by_function.get(function, 0) + instructions

        return entered

    def _name(self, address: int) -> str:
        return next((n for start, size, n in self._functions if start <= address < start + max(1, size)), "")


def _counted(code: bytes) -> tuple[int, int]:
    """How many Thumb instructions there are, and how many of them load (Armv7-M manual, DDI 0403E, section A5)."""
    place = instructions = loads = 0
    while place < len(code):
        first = int.from_bytes(code[place : place + 2], "little")
        wide = first >> 11 in LONG
        loads += any(first & mask == bits for mask, bits in (WIDE_LOADS if wide else LOADS))
        instructions += 1
        place += 4 if wide else 2
    return instructions, loads
