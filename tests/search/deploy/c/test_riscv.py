"""Plain C on another architecture: compiled for 32-bit RISC-V, and run by an emulator of it."""

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from search.compilers import WARNINGS, compiled
from search.deploy.backends import SIZE, SPEED, Options, agreement, agreements_on_sound, backend, drawn_inputs
from search.deploy.c.manifest import Manifest
from search.deploy.c.project import names
from search.integer.executor import Executor
from search.integer.graph import Array
from search.integer.program import Program
from tests.search.integer.loops import recurrent
from tests.search.integer.programs import attention_network, residual_network, resized_network
from tests.search.integer.sounds import FRONT_ENDS, fitted
from tests.search.integer.sounds import program as hearing

ELF = pytest.importorskip("elftools.elf.elffile")
unicorn = pytest.importorskip("unicorn")
REGISTERS = pytest.importorskip("unicorn.riscv_const")
pytestmark = pytest.mark.skipif(find_spec("ziglang") is None, reason="no compiler for RISC-V: `pip install ziglang`")

COMMAND = (sys.executable, "-m", "ziglang", "cc", "-target", "riscv32-freestanding-none")
CORES = {"RV32I": "generic_rv32", "RV32GC": "baseline_rv32"}  # the first has no instruction that multiplies
LIBRARY = """\
/* What a compiler expects of a C library. */
#include <stddef.h>

__attribute__((no_builtin)) void *memcpy(void *restrict to, const void *restrict from, size_t bytes)
{
    for (size_t i = 0; i < bytes; ++i)
        ((char *)to)[i] = ((const char *)from)[i];
    return to;
}

__attribute__((no_builtin)) void *memset(void *to, int byte, size_t bytes)
{
    for (size_t i = 0; i < bytes; ++i)
        ((char *)to)[i] = (char)byte;
    return to;
}
"""
MEMORY, STACK, BACK = 32 << 20, 32 << 20, 16  # bytes from address 0; where the stack begins; where a call returns to
NETWORKS = {
    "residual": residual_network,
    "attention": attention_network,
    "resized": resized_network,
    "recurrent": recurrent,
}


class Run:
    """The C in a folder, on an emulated core. It is a Runner of search.deploy.backends."""

    def __init__(self, folder: Path, options: tuple[str, ...]) -> None:
        from search.deploy.cortex_m.firmware import firmware  # which needs the emulator

        self.manifest = Manifest.read(folder / "network.json")
        (folder / "traced.c").write_text(firmware(self.manifest)["traced.c"])
        (folder / "library.c").write_text(LIBRARY)
        sources = [folder / name for name in ("network.c", "weights.c", "traced.c", "library.c")]
        compiled(
            COMMAND, sources, folder / "traced.elf", [*WARNINGS, "-Werror", *options, "-DNETWORK_TRACE", "-Wl,-e,main"]
        )
        self.core = unicorn.Uc(unicorn.UC_ARCH_RISCV, unicorn.UC_MODE_RISCV32)
        self.core.mem_map(0, MEMORY)
        with (folder / "traced.elf").open("rb") as file:
            read = ELF.ELFFile(file)
            assert read["e_machine"] == "EM_RISCV" and read.elfclass == 32
            for segment in read.iter_segments("PT_LOAD"):
                self.core.mem_write(segment["p_vaddr"], segment.data())
            self.symbols = {each.name: each["st_value"] for each in read.get_section_by_name(".symtab").iter_symbols()}
        place = self.symbols["network_trace"]
        self.core.hook_add(unicorn.UC_HOOK_CODE, self._take, begin=place, end=place)
        self.traced: list[bytes] = []

    def codes(self, *inputs: Array) -> dict[str, Array]:
        given, found = self.manifest.given(inputs), []
        ins, outs = (names(*each) for each in (("in", self.manifest.inputs), ("out", self.manifest.outputs)))
        for sample in range(len(inputs[0])):
            for name, codes in zip(ins, given, strict=True):
                self.core.mem_write(self.symbols[name], codes[sample].tobytes())
            self.traced.clear()
            self._call("network_run", *(self.symbols[name] for name in (*ins, *outs)))
            found.append(b"".join(self.traced))
        return self.manifest.parted(np.frombuffer(b"".join(found), np.uint8).reshape(len(found), -1))

    def read(self, raw: Array) -> Array:
        x = next(each for each in self.manifest.tensors if each.name == self.manifest.inputs[0])
        found = []
        for sound in raw:
            self.core.mem_write(self.symbols["raw"], sound.tobytes())
            self._call("network_read", self.symbols["raw"], self.symbols["in"])
            found.append(bytes(self.core.mem_read(self.symbols["in"], x.bytes)))
        return x.seen(np.frombuffer(b"".join(found), x.info.dtype).reshape(len(raw), -1))

    def pace(self, *inputs: Array) -> str:
        return "not counted"

    def _call(self, function: str, *arguments: int) -> None:
        for place, value in enumerate(arguments):
            self.core.reg_write(REGISTERS.UC_RISCV_REG_A0 + place, value)
        self.core.reg_write(REGISTERS.UC_RISCV_REG_SP, STACK)
        self.core.reg_write(REGISTERS.UC_RISCV_REG_RA, BACK)
        self.core.emu_start(self.symbols[function], BACK)

    def _take(self, core, address: int, size: int, data: object) -> None:
        place, length = (core.reg_read(REGISTERS.UC_RISCV_REG_A0 + number) for number in (1, 2))
        self.traced.append(bytes(core.mem_read(place, length)))


def assert_same(program: Program, run: Run, samples: int = 3) -> None:
    inputs = drawn_inputs(program, samples)
    found = agreement("RISC-V", run.codes(*inputs), Executor(program)(*inputs, intermediate=True))
    assert found.mismatches == 0, found.first
    assert found.tensors == len(program.tensors)


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("optimize, option", [(SPEED, "-O3"), (SIZE, "-O2")])
@pytest.mark.parametrize("network", NETWORKS)
def test_every_tensor_is_that_of_the_executor(network: str, optimize: str, option: str, core: str, tmp_path: Path):
    program = NETWORKS[network]()
    backend("c").write(program, tmp_path, Options(optimize=optimize))
    assert_same(program, Run(tmp_path, (option, f"-mcpu={CORES[core]}")))


@pytest.mark.parametrize("bits", [2, 4, 12])
def test_codes_of_other_widths(bits: int, tmp_path: Path):
    program = residual_network(bits)
    backend("c").write(program, tmp_path)
    assert_same(program, Run(tmp_path, ("-O2",)))


@pytest.mark.parametrize("number", [0, 3])
def test_sounds_are_read_as_the_front_end_reads_them(number: int, tmp_path: Path):
    program = hearing(fitted(FRONT_ENDS[number]), grid=number % 2 == 0)
    backend("c").write(program, tmp_path)
    run = Run(tmp_path, ("-O2",))
    assert_same(program, run)
    (found,) = agreements_on_sound(program, {"RISC-V": run}).values()
    assert found.mismatches == 0 and found.elements == 4 * np.prod(program.tensors["x"].shape)
