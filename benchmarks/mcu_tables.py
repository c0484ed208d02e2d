"""The tables of a target, fitted to what layers took."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod

import numpy as np
from scipy.optimize import nnls

from cost_models.image import BASE, LOOP
from cost_models.kernels import (
    SPECIAL,
    is_alone,
    is_called,
    kernel_kind,
    kernels,
    overheads,
    overheads_of_elements,
    own_function,
    products_by_width,
)
from cost_models.layer import LayerUse
from search.deploy.backends import SIZE
from search.deploy.c.source import identifier
from search.deploy.cortex_m.image import Image
from search.integer.traits import Work

CYCLES = ("cycles_per_mac", "overhead_cycles", "cycles_per_element")
CODE = ("code_bytes", "step_bytes")
STACK = "stack_bytes"
Built = tuple[Sequence[LayerUse], Image]  # the layers of a network, and its image
POINTER, POINTERS_OF_TWO = 4, 2  # bytes; of an input and an output
POINTERS, NUMBERS, STEP = "pointers", "_numbers", 12  # arrays of arguments, and bytes of what says which they are


@dataclass(frozen=True)
class Tables:
    """Cycles, which are executed instructions: of a product by kind and width, and so on; see cost_models.target.

    Attributes:
        layers: how many they are fitted to.
        error: mean relative error of these; None where there are none.
    """

    per_mac: Mapping[str, float]
    overheads: Mapping[str, float]
    per_element: Mapping[str, float]
    layers: int = 0
    error: float | None = None

    def missing(self, use: LayerUse) -> list[str]:
        """The rows that a layer needs and that are not there."""
        if use.operator.work is Work.NOTHING:
            return []
        if not use.operator.weighted:
            return [] if use.op in self.per_element else [use.op]
        widths = zip(use.weight_bits, use.out_per_width.tolist(), strict=True)
        keys = [f"{_kind(use)}/a8w{bits}" for bits, count in widths if count]
        return [key for key in keys if key not in self.per_mac]

    def predicted(self, use: LayerUse) -> float:
        """Instructions of a layer, as often as it runs."""
        rates = {**self.per_mac, **self.overheads, **self.per_element}
        return sum(rates.get(name, 0.0) * count for name, count in _counts(use).items()) * use.times


def fitted(measured: Sequence[tuple[LayerUse, int]]) -> Tables:
    """The tables that fit layers best. Args: measured: a layer, and its instructions, as often as it runs."""
    alike: dict[str, list[tuple[LayerUse, int]]] = defaultdict(list)
    counted = [(u, n) for u, n in measured if u.operator.work is not Work.NOTHING and not _is_special(u)]
    for use, instructions in counted:
        alike[_kind(use) if use.operator.weighted else use.op].append((use, instructions))
    per_mac, overheads_, per_element = dict[str, float](), dict[str, float](), dict[str, float]()
    for layers in alike.values():
        for name, rate in _rates(layers).items():
            table = per_element if "/" not in name else per_mac if "/a8w" in name else overheads_
            table[name] = rate
    tables = Tables(per_mac, overheads_, per_element)
    errors = [abs(tables.predicted(use) / instructions - 1) for use, instructions in counted]
    return replace(tables, layers=len(errors), error=float(np.mean(errors)) if errors else None)


def _rates(layers: Sequence[tuple[LayerUse, int]]) -> dict[str, float]:
    """What each count takes, none less than 0, by least squares of relative errors.

    Where there is one count, it is the geometric mean: copies of one operator differ by much, and the quickest would
    decide the least squares.
    """
    counts = [{name: count * use.times / n for name, count in _counts(use).items()} for use, n in layers]
    names = sorted({name for each in counts for name, count in each.items() if count})
    rows = np.array([[each.get(name, 0.0) for name in names] for each in counts])
    rates = nnls(rows, np.ones(len(rows)))[0] if len(names) > 1 else np.exp(-np.log(rows).mean(0))
    return {name: round(rate, 3) for name, rate in zip(names, rates.tolist(), strict=True)}


def _kind(use: LayerUse) -> str:
    return kernel_kind(use, SPECIAL)


def _is_special(use: LayerUse) -> bool:
    """Whether a kernel runs it that is not the one of its kind.

    It is a convolution at one place, or depthwise and transposed, or with several outputs a channel.
    """
    several = use.runs_depthwise and bool(use.out_channels != use.in_channels)
    spread = use.runs_depthwise and use.operator.spreads
    return spread or several or (use.operator.convolves and is_alone(use))


@dataclass(frozen=True)
class Code:
    """Bytes of functions, of what calls them takes, and of the stack; see cost_models.target."""

    functions: Mapping[str, int]
    steps: Mapping[str, int]
    stack: int


def code_of(layers: Sequence[Built], networks: Sequence[Built]) -> Code:
    """What images say. Of several, the first in which one calls a function counts.

    What every image has is read off networks without loops, and what runs a loop off those with loops.
    """
    functions, steps = dict[str, int](), dict[str, int]()
    bases, loops = list[int](), list[tuple[int, int]]()
    for uses, image in (*layers, *networks):
        called = [use for use in uses if is_called(use)]
        for name, size in _own_functions(called, image).items():
            functions.setdefault(name, size)
        if len(called) == 1:  # one step alone is called without a loop
            arguments = sum(_words(v) for k, v in image.arrays.items() if k == POINTERS or k.endswith(NUMBERS))
            steps.setdefault(own_function(called[0]), STEP + arguments)
        for use in called:  # of what runs in loops alone
            numbers = image.arrays.get(f"{identifier(use.name)}{NUMBERS}")
            if use.operator.loops is not None and numbers is not None:
                steps.setdefault(own_function(use), STEP + POINTER * POINTERS_OF_TWO + _words(numbers))
    for uses, image in networks:
        own = _own_functions([use for use in uses if is_called(use)], image)
        rest = image.flash_bytes - sum(map(_words, image.arrays.values())) - sum(own.values())
        count = len({use.loop for use in uses if use.loop})
        if count:
            loops.append((rest + image.arrays["vectors"], count))
        else:
            bases.append(rest + image.arrays["vectors"])
    shared = dict[str, int]()
    if bases:
        shared[BASE] = int(np.median(bases))
    if bases and loops:  # others have more helpers
        shared[LOOP] = _words(max(0, round(min((rest - shared[BASE]) / count for rest, count in loops))))
    return Code(shared | functions, steps, max(image.stack_bytes for _, image in (*layers, *networks)))


def _own_functions(called: Sequence[LayerUse], image: Image) -> dict[str, int]:
    """Bytes of the functions that layers call, and of those that these call, each once."""
    names = [own_function(use) for use in called]
    names += [name for use in called for name, count in kernels(use) if float(count) > 0]
    return {name: _words(image.functions[name]) for name in names if name in image.functions}


def _words(size: int) -> int:
    return -(-size // 4) * 4


def sections(optimize: str) -> tuple[str, ...]:
    """The keys of a target's file whose rows are written."""
    return (*CYCLES, *CODE, STACK) if optimize == SIZE else CYCLES


def written(text: str, tables: Tables, code: Code | None = None) -> str:
    """The file of a target, with these tables in the place of its own."""
    each = _cycles(tables)
    if code is not None:
        each |= zip(CODE, (code.functions, code.steps), strict=True)
        text = re.sub(rf"^{STACK}: .*$", f"{STACK}: {code.stack}", text, flags=re.MULTILINE)
    for name, values in each.items():
        text = re.sub(rf"^{name}:\n(  .*\n)*", f"{name}:\n{_rows(values)}", text, flags=re.MULTILINE)
    return text


def with_kinds(text: str, tables: Tables, kinds: Sequence[str], code: Code | None = None) -> str:
    """The file of a target, with the rows of these kinds behind its own. All others stay as they are.

    Args:
        code: of their layers, where the file has bytes too. Kernels that they share with other layers stay as well.
    """
    text = re.sub(rf"^  ({'|'.join(kinds)})/\w+: .*\n", "", text, flags=re.MULTILINE)
    each = {
        name: {key: value for key, value in values.items() if key.partition("/")[0] in kinds}
        for name, values in _cycles(tables).items()
    }
    if code is not None:
        own = {name: size for name, size in code.functions.items() if name in code.steps}
        each |= zip(CODE, (own, code.steps), strict=True)
    for name, values in each.items():
        text = re.sub(rf"^{name}:\n(?:  .*\n)*", partial(_with_rows, values), text, flags=re.MULTILINE)
    return text


def _with_rows(values: Mapping[str, float], section: re.Match[str]) -> str:
    """A table of a file, with these rows behind its others."""
    others = [line for line in section[0].splitlines(keepends=True) if line.strip().partition(":")[0] not in values]
    return "".join(others) + _rows(values)


def _cycles(tables: Tables) -> dict[str, Mapping[str, float]]:
    return dict(zip(CYCLES, (tables.per_mac, tables.overheads, tables.per_element), strict=True))


def _rows(values: Mapping[str, float]) -> str:
    return "".join(f"  {key}: {value:g}\n" for key, value in values.items())


def _counts(use: LayerUse) -> dict[str, float]:
    """What a layer has of each row of the tables, once: products at each width and overheads, or elements."""
    if use.operator.work is Work.NOTHING:
        return {}
    if not use.operator.weighted:
        found = {use.op: use.out_elements.item() * prod(use.kernel)}
        return found | {f"{use.op}/{name}": count.item() for name, count in overheads_of_elements(use).items()}
    kind = _kind(use)
    counts = zip(use.weight_bits, products_by_width(use, kind).tolist(), strict=True)
    found = {f"{kind}/a8w{bits}": count for bits, count in counts}
    return found | {f"{kind}/{name}": count.item() for name, count in overheads(use, kind).items()}
