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
cost_models.kernels.overheads, a and b depend on its kind, and a on the width of its weights too. Of any other operator,
instructions = elements * d + the sum of counts * e, where the counts are those of overheads_of_elements there, and each
operator has d and e of its own. Tables are fitted to single layers, by least squares of relative errors, and tried on
whole networks, which the fit has not seen. Where small code is wanted, bytes of each function are read off the images.
"""

import argparse
import json
import random
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.mcu_layers import LAYERS, Bits, Case
from benchmarks.mcu_networks import NETWORKS
from benchmarks.mcu_tables import Built, Tables, code_of, fitted, sections, with_kinds, written
from cost_models.kernels import SPECIAL
from cost_models.layer import LayerUse
from search.deploy.backends import DEFAULTS, SIZE, SPEED, backend, drawn_inputs
from search.deploy.backends import Options as Written
from search.deploy.cortex_m.cores import CORES
from search.deploy.cortex_m.image import Image, built
from search.deploy.lower import lower
from search.errors import PicojouleError, UsageError, file_errors
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


def measured(case: Case, bits: Bits, options: Written) -> Measured:
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
        file = emulated.write(program, Path(folder), options)
        (run,), image = emulated.opened(file).values(), built(file)
        each = run.by_tensor(*drawn_inputs(program, 1))
    functions = set[str]().union(*(counts.by_function for counts in each.values()))
    uses = network.describe().layers
    taken = by_layer(uses, {name: counts.instructions for name, counts in each.items()})
    return Measured(
        case,
        bits,
        program,
        [(use, taken[use.output]) for use in uses],
        sum(counts.instructions for counts in each.values()),
        sum(counts.loads for counts in each.values()),
        sum(run.sizes[name] for name in functions),
        image,
    )


def by_layer(uses: Sequence[LayerUse], each: Mapping[str, int]) -> dict[str, int]:
    """Instructions of each tensor, as often as it is computed.

    What is in a loop is traced at its last place, and the first tensor that is traced there has all places before that
    one as well. Each other takes what it took at the last place as often as the loop runs, and the first the rest.

    Args:
        each: tensor -> instructions from the trace before it to its own, in the order of the traces.
    """
    found, loops = dict(each), defaultdict[str, list[LayerUse]](list)
    writers = {use.output: use for use in uses}
    for use in (writers[name] for name in each if name in writers):
        if use.loop:
            loops[use.loop].append(use)
    for first, *others in loops.values():
        before = max(use.times for use in (first, *others)) - 1  # places; what gathers them is computed once
        for use in others:
            found[use.output] += each[use.output] * before
            found[first.output] -= each[use.output] * before
    return found


def measurements(options: Written, only: str, kinds: Sequence[str]) -> Iterator[Measured]:
    """The layers and networks whose name has `only` in it, in each precision; of some kinds the layers alone."""
    for case in (*LAYERS, *NETWORKS):
        chosen = only in case.name and (not kinds or case.kind in kinds)
        for bits in case.bits if chosen else ():
            yield measured(case, bits, options)


def tables_of(found: Sequence[Measured]) -> Tables:
    """Fitted to the single layers."""
    layers = (one for one in found if one.case in LAYERS)
    return fitted([(u, n) for one in layers for u, n in one.uses if u.operator.weighted or not one.case.weighted])


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


def options_for(table: Path | None, text: str, core: str | None, optimize: str | None, only: str) -> Written:
    """What the C is written for: what the file of the target says, or what is asked for.

    Args:
        table, text: the file whose tables are written anew, and what is in it; None: no table is written.
        core, optimize, only: as they are given; None and "": they are not.

    Raises:
        UsageError: what is asked for contradicts the file, the file names no core or lacks a table, or the tables would
            be those of a part of the layers.
    """
    if table is None:
        return Written(core or DEFAULTS.target, optimize or DEFAULTS.optimize)
    if only:
        raise UsageError(
            f"--only '{only}' found with --table {table}: its tables are written anew, which needs all layers and "
            "networks. Leave --only out to write them, or --table to measure a part."
        )
    own = Written(_said(text, "core"), _said(text, "optimize") or SPEED)
    if own.target not in CORES:
        raise UsageError(
            f"--table {table} has `core: {own.target}`; {', '.join(CORES)} are allowed there, since its tables are "
            "written anew from what such a core executes. Give the file of a target with one of these cores."
        )
    for key, given, said in (("core", core, own.target), ("optimize", optimize, own.optimize)):
        if given not in (None, said):
            raise UsageError(
                f"--{key} {given} found with --table {table}, which has `{key}: {said}`; '{said}' is allowed there. "
                f"Leave --{key} out, or give the file of a target with `{key}: {given}`."
            )
    missing = [name for name in sections(own.optimize) if not re.search(rf"^{name}:", text, re.MULTILINE)]
    if missing:
        raise UsageError(
            f"--table {table} has no {', '.join(missing)}; tables are written in the place of those that are there, "
            "each at the beginning of a line. Add what is missing, without rows."
        )
    return own


def _said(text: str, key: str) -> str:
    """The value of a key of a target's file; "": it has none."""
    found = re.search(rf"^{key}: *[\"']?(\w+)", text, re.MULTILINE)
    return found[1] if found else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--core", choices=CORES, help=f"that is emulated; {DEFAULTS.target}, or as --table says")
    parser.add_argument("--only", default="", help="layers and networks whose name has this in it; not with --table")
    parser.add_argument(
        "--optimize", choices=(SPEED, SIZE), help="what the C is written for; speed, or as --table says"
    )
    parser.add_argument("--table", type=Path, help="file of the target, whose tables are written anew")
    about = "measure layers of these kinds alone; with --table their rows are written, and all others stay"
    parser.add_argument("--kinds", nargs="+", default=[], choices=SPECIAL, help=about)
    arguments = parser.parse_args()
    table: Path | None = arguments.table
    try:
        with file_errors(table or Path(), "cannot be read"):
            text = table.read_text() if table else ""
        options = options_for(table, text, arguments.core, arguments.optimize, arguments.only)
    except PicojouleError as error:
        parser.error(str(error))
    found = []
    for one in measurements(options, arguments.only, arguments.kinds):
        found.append(one)
        print(json.dumps(one.line(CORES[options.target].cpu)), flush=True)
    tables = tables_of(found)
    for line in compared(found, tables):
        print(json.dumps(line), flush=True)
    if table is None:
        return
    code = code_of(_built(found, LAYERS), _built(found, NETWORKS)) if options.optimize == SIZE else None
    new = with_kinds(text, tables, arguments.kinds, code) if arguments.kinds else written(text, tables, code)
    table.write_text(new)


def _built(found: Sequence[Measured], cases: Sequence[Case]) -> list[Built]:
    return [([use for use, _ in one.uses], one.image) for one in found if one.case in cases]


if __name__ == "__main__":
    main()
