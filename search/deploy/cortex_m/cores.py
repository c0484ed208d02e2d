"""Cores, and the compilers that build for them."""

import shutil
import sys
from dataclasses import dataclass
from importlib.util import find_spec

from search.errors import MissingTool, UsageError

GCC = "arm-none-eabi-gcc"


@dataclass(frozen=True)
class Core:
    """A core of the Cortex-M family.

    Attributes:
        cpu: as GCC calls it.
        fpu: options of GCC about its floating-point unit.
        model: what unicorn calls it.
    """

    cpu: str
    fpu: tuple[str, ...]
    model: str

    @property
    def options(self) -> list[str]:
        """Of GCC."""
        return [f"-mcpu={self.cpu}", "-mthumb", *self.fpu]


SINGLE = ("-mfpu=fpv4-sp-d16", "-mfloat-abi=hard")
CORES = {
    "cortex_m3": Core("cortex-m3", ("-mfloat-abi=soft",), "UC_CPU_ARM_CORTEX_M3"),
    "cortex_m4": Core("cortex-m4", SINGLE, "UC_CPU_ARM_CORTEX_M4"),
    "cortex_m7": Core("cortex-m7", ("-mfpu=fpv5-sp-d16", "-mfloat-abi=hard"), "UC_CPU_ARM_CORTEX_M7"),
    "cortex_m33": Core("cortex-m33", ("-mfpu=fpv5-sp-d16", "-mfloat-abi=hard"), "UC_CPU_ARM_CORTEX_M33"),
}


def core_of(target: str) -> Core:
    """The core of that name. Raises UsageError where there is none."""
    if target not in CORES:
        raise UsageError(f"cortex_m: there is no core '{target}'. There are {', '.join(CORES)}.")
    return CORES[target]


def toolchain(core: Core) -> list[str]:
    """The command of a compiler for the core: GCC, or the one of the package ziglang.

    Raises:
        MissingTool: there is none.
    """
    if shutil.which(GCC):
        return [GCC, *core.options, "-nostartfiles", "--specs=nano.specs", "--specs=nosys.specs"]
    if find_spec("ziglang") is not None:
        cpu = core.cpu.replace("-", "_")
        return [
            sys.executable,
            "-m",
            "ziglang",
            "cc",
            "-target",
            "thumb-freestanding-eabi",
            f"-mcpu={cpu}",
            "-nostdlib",
        ]
    raise MissingTool(
        f"cortex_m: no compiler for {core.cpu} found. Install {GCC} (package gcc-arm-none-eabi), or "
        "`pip install ziglang`."
    )
