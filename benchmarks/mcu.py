"""Executed instructions and bytes of the generated C on an emulated Cortex-M core.

    python -m benchmarks.mcu
    python -m benchmarks.mcu --table conf/target/cortex_m4.yaml

The first prints a JSON object for each layer, then for each whole network. The second writes the tables that it fits
into the file of the target as well, of C that is written for what that file says. It needs `pip install
'picojoule[mcu]'` and a compiler for the core (gcc-arm-none-eabi, or the package ziglang). The emulator executes
instructions and has no model of cycles: wait states and stalls are missing.

Of a layer with weights, instructions = products * a + the sum of counts * b, where the counts are those of
cost_models.kernels.overheads, a and b depend on its kind, and a on the width of its weights too. Of other operators,
instructions = elements * d. Tables are fitted to single layers, by least squares of relative errors, and tried on whole
networks, which the fit has not seen. Where small code is wanted, bytes of each function are read off the images.
"""

import argparse
import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.mcu_layers import LAYERS, NETWORKS, Bits, Case
from benchmarks.mcu_tables import code_of, fitted, written
from cost_models.layer import LayerUse
from search.deploy.backends import SIZE, SPEED, backend, drawn_inputs
from search.deploy.backends import Options as Written
from search.deploy.cortex_m.cores import CORES
from search.deploy.cortex_m.image import Image, built
from search.deploy.lower import lower
from search.integer.program import Program
from spaces.architecture import Architecture
from spaces.searchable import Options, searchable


@dataclass(frozen=True)
class Measured:
    """What a network took.

    Attributes:
        uses: its layers, as the cost models see them, and the instructions of each.
        instructions, loads: of all, what copies inputs and outputs included.
        code_bytes: of the functions that ran.
        image: what is linked.
    """

    case: Case
    bits: Bits
    program: Program
    uses: Sequence[tuple[LayerUse, int]]
    instructions: int
    loads: int
    code_bytes: int
    image: Image

    def line(self, cpu: str) -> dict[str, Any]:
        per = self.program.macs() or sum(int(use.out_elements) for use, _ in self.uses)
        unit = "mac" if self.program.macs() else "element"
        return {
            "benchmark": "mcu",
            "cpu": cpu,
            "op": self.case.name,
            "shape": " + ".join("x".join(map(str, shape)) for shape in self.case.shapes),
            "weight_bits": self.bits if self.program.macs() else None,
            "instructions": self.instructions,
            f"instructions_per_{unit}": round(self.instructions / per, 3),
            f"loads_per_{unit}": round(self.loads / per, 3),
            "code_bytes": self.code_bytes,
        }


def measured(case: Case, bits: Bits, core: str, optimize: str = SPEED) -> Measured:
    """Untrained weights will do: no branch of a kernel depends on them.

    Raises:
        RuntimeError: the core computes something else than the executor.
    """
    torch.manual_seed(0)
    examples = tuple(torch.randn(4, *shape) for shape in case.shapes)
    widths = (bits,) if isinstance(bits, int) else bits
    space = searchable(case.make(), examples, Options(weight_bits=widths)).eval()
    space.calibrate([examples if len(examples) > 1 else examples[0]])
    rng = random.Random(0)
    picks = {name: tuple(rng.choice(d.options) for _ in range(d.groups)) for name, d in space.decisions.items()}
    space.fix(Architecture(space.name, picks))
    network = space.decide().eval()
    program, emulated = lower(network), backend("cortex_m")
    with TemporaryDirectory() as folder:
        file = emulated.write(program, Path(folder), Written(core, optimize))
        (run,), image = emulated.opened(file).values(), built(file)
        each = run.by_tensor(*drawn_inputs(program, 1))
    functions = set[str]().union(*(counts.by_function for counts in each.values()))
    return Measured(
        case,
        bits,
        program,
        [(use, each[use.output].instructions) for use in network.describe().layers],
        sum(counts.instructions for counts in each.values()),
        sum(counts.loads for counts in each.values()),
        sum(run.sizes[name] for name in functions),
        image,
    )


def lines(core: str, only: str, optimize: str) -> Iterator[tuple[Measured | None, dict[str, Any]]]:
    """What was measured, and a line about it; the last ones compare whole networks with the tables."""
    found = []
    for case in (*LAYERS, *NETWORKS):
        for bits in case.bits if only in case.name else ():
            one = measured(case, bits, core, optimize)
            found.append(one)
            yield one, one.line(CORES[core].cpu)
    tables = fitted([pair for one in found if one.case in LAYERS for pair in one.uses])
    for one in found:
        if one.case in NETWORKS:
            predicted = sum(tables.predicted(use) for use, _ in one.uses)
            line = {"benchmark": "mcu", "network": one.case.name, "weight_bits": one.bits}
            line |= {"executed": one.instructions, "predicted": round(predicted)}
            yield None, line | {"error": round(predicted / one.instructions - 1, 4)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--core", default="cortex_m4", choices=CORES)
    parser.add_argument("--only", default="", help="layers and networks whose name has this in it")
    parser.add_argument("--optimize", default=SPEED, choices=(SPEED, SIZE), help="what the C is written for")
    parser.add_argument("--table", type=Path, help="file of the target, whose tables are written anew")
    arguments = parser.parse_args()
    text = "" if arguments.table is None else arguments.table.read_text()
    optimize = SIZE if re.search(rf"^optimize: {SIZE}$", text, re.MULTILINE) else arguments.optimize
    found = []
    for one, line in lines(arguments.core, arguments.only, optimize):
        found += [one] if one is not None else []
        print(json.dumps(line), flush=True)
    if arguments.table is not None:
        tables = fitted([pair for one in found if one.case in LAYERS for pair in one.uses])
        code = code_of([([use for use, _ in one.uses], one.image) for one in found]) if optimize == SIZE else None
        arguments.table.write_text(written(text, tables, code))


if __name__ == "__main__":
    main()
