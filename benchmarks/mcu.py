"""Executed instructions and bytes of the generated C on an emulated Cortex-M core.

    python -m benchmarks.mcu
    python -m benchmarks.mcu --table conf/target/cortex_m4.yaml
    python -m benchmarks.mcu --kinds transposed grouped --table conf/target/cortex_m4.yaml

The first prints a JSON object for each layer and each whole network, then how far the tables are off. The second writes
the tables that it fits into the file of the target as well, of C that is written for what that file says. The third
measures layers of some kinds alone, and writes their rows alone. It needs `pip install 'picojoule[mcu]'` and a compiler
for the core (gcc-arm-none-eabi, or the package ziglang). The emulator executes instructions and has no model of cycles:
wait states and stalls are missing.

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
from benchmarks.mcu_tables import Tables, code_of, fitted, with_kinds, written
from cost_models.kernels import SPECIAL
from cost_models.layer import LayerUse
from search.deploy.backends import SIZE, SPEED, backend, drawn_inputs
from search.deploy.backends import Options as Written
from search.deploy.cortex_m.cores import CORES
from search.deploy.cortex_m.image import Image, built
from search.deploy.lower import lower
from search.errors import UsageError
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


def measurements(core: str, only: str, kinds: Sequence[str], optimize: str) -> Iterator[Measured]:
    """The layers and networks whose name has `only` in it, in each precision; of some kinds the layers alone."""
    for case in (*LAYERS, *NETWORKS):
        chosen = only in case.name and (not kinds or case.kind in kinds)
        for bits in case.bits if chosen else ():
            yield measured(case, bits, core, optimize)


def tables_of(found: Sequence[Measured]) -> Tables:
    """Fitted to the single layers."""
    return fitted([pair for one in found if one.case in LAYERS for pair in one.uses])


def compared(found: Sequence[Measured], tables: Tables) -> Iterator[dict[str, Any]]:
    """What the tables are off by: the mean of the layers that they are fitted to, and each network.

    Where layers were left out, tables may lack rows that a network needs. Its line names them, and predicts nothing.
    """
    if tables.error is not None:
        yield {"benchmark": "mcu", "fitted_layers": tables.layers, "mean_error": round(tables.error, 4)}
    for one in found:
        if one.case not in NETWORKS:
            continue
        line = {"benchmark": "mcu", "network": one.case.name, "weight_bits": one.bits, "executed": one.instructions}
        missing = sorted({key for use, _ in one.uses for key in tables.missing(use)})
        if missing:
            yield line | {"not_fitted": missing}
            continue
        predicted = sum(tables.predicted(use) for use, _ in one.uses)
        yield line | {"predicted": round(predicted), "error": round(predicted / one.instructions - 1, 4)}


def written_for(table: Path | None, text: str, optimize: str | None, only: str) -> str:
    """What the C is written for: what the file of the target says, or what is asked for.

    Args:
        table, text: the file whose tables are written anew, and what is in it; None: no table is written.
        optimize, only: as they are given; None and "": they are not.

    Raises:
        UsageError: what is asked for contradicts the file, or the tables would be those of a part of the layers.
    """
    if table is None:
        return optimize or SPEED
    if only:
        raise UsageError(
            f"--only '{only}' found with --table {table}: its tables are written anew, which needs all layers and "
            "networks. Leave --only out to write them, or --table to measure a part."
        )
    said = re.search(r"^optimize: *(\w+)", text, re.MULTILINE)
    own = said[1] if said else SPEED
    if optimize not in (None, own):
        raise UsageError(
            f"--optimize {optimize} found with --table {table}, which is of C for {own}; '{own}' is allowed there. "
            f"Leave --optimize out, or give the file of a target with `optimize: {optimize}`."
        )
    return own


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--core", default="cortex_m4", choices=CORES)
    parser.add_argument("--only", default="", help="layers and networks whose name has this in it; not with --table")
    parser.add_argument(
        "--optimize", choices=(SPEED, SIZE), help="what the C is written for; speed, or as --table says"
    )
    parser.add_argument("--table", type=Path, help="file of the target, whose tables are written anew")
    about = "measure layers of these kinds alone; with --table their rows are written, and all others stay"
    parser.add_argument("--kinds", nargs="+", default=[], choices=SPECIAL, help=about)
    arguments = parser.parse_args()
    text = "" if arguments.table is None else arguments.table.read_text()
    try:
        optimize = written_for(arguments.table, text, arguments.optimize, arguments.only)
    except UsageError as error:
        parser.error(str(error))
    found = []
    for one in measurements(arguments.core, arguments.only, arguments.kinds, optimize):
        found.append(one)
        print(json.dumps(one.line(CORES[arguments.core].cpu)), flush=True)
    tables = tables_of(found)
    for line in compared(found, tables):
        print(json.dumps(line), flush=True)
    if arguments.table is not None and arguments.kinds:
        arguments.table.write_text(with_kinds(text, tables, arguments.kinds))
    elif arguments.table is not None:
        code = code_of([([use for use, _ in one.uses], one.image) for one in found]) if optimize == SIZE else None
        arguments.table.write_text(written(text, tables, code))


if __name__ == "__main__":
    main()
