"""The tables of a target, fitted to what layers took."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np
from scipy.optimize import nnls

from cost_models.image import LOOP
from cost_models.kernels import (
    SPECIAL,
    is_alone,
    is_called,
    kernel_kind,
    kernels,
    overheads,
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
NOT_ELEMENTS = (Work.NOTHING, Work.PAIRS)  # what is not priced by the element
PAIRED = "linear/a8w8"  # the row that prices products of two activations; see cost_models.latency
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
        if not use.operator.weighted and use.operator.work is not Work.PAIRS:
            known = use.operator.work is Work.NOTHING or _key(use) in self.per_element
            return [] if known else [_key(use)]
        if not use.operator.weighted:
            return [] if PAIRED in self.per_mac else [PAIRED]
        widths = zip(use.weight_bits, use.out_per_width.tolist(), strict=True)
        keys = [f"{_kind(use)}/a8w{bits}" for bits, count in widths if count]
        return [key for key in keys if key not in self.per_mac]

    def predicted(self, use: LayerUse) -> float:
        """Instructions of a layer, as often as it runs."""
        return self._once(use) * use.times

    def _once(self, use: LayerUse) -> float:
        if use.operator.work is Work.NOTHING:
            return 0.0
        if use.operator.work is Work.PAIRS:
            return _elements(use) * self.per_mac[PAIRED]
        if not use.operator.weighted:
            return _elements(use) * self.per_element[_key(use)]
        kind = _kind(use)
        rates = {**self.per_mac, **self.overheads}
        return sum(rates.get(f"{kind}/{name}", 0.0) * count for name, count in _counts(use).items())


def fitted(measured: Sequence[tuple[LayerUse, int]]) -> Tables:
    """The tables that fit layers best. Args: measured: a layer, and its instructions."""
    weighted: dict[str, list[tuple[LayerUse, int]]] = defaultdict(list)
    others: dict[str, list[float]] = defaultdict(list)
    for use, instructions in measured:
        if use.operator.weighted and not _is_special(use):
            weighted[_kind(use)].append((use, instructions))
        elif not use.operator.weighted and use.operator.work not in NOT_ELEMENTS:
            others[_key(use)].append(instructions / _elements(use))
    per_mac, overheads_ = dict[str, float](), dict[str, float]()
    for kind, layers in weighted.items():
        counts = [_counts(use) for use, _ in layers]
        names = sorted({name for each in counts for name, count in each.items() if count})
        rows = [[each.get(name, 0.0) / n for name in names] for each, (_, n) in zip(counts, layers, strict=True)]
        rates, _ = nnls(np.array(rows), np.ones(len(layers)))
        for name, rate in zip(names, rates.tolist(), strict=True):
            (per_mac if name.startswith("a8w") else overheads_)[f"{kind}/{name}"] = round(rate, 3)
    per_element = {key: round(float(np.exp(np.mean(np.log(rates)))), 2) for key, rates in others.items()}
    tables = Tables(per_mac, overheads_, per_element)
    counted = [(u, n) for u, n in measured if u.operator.work not in NOT_ELEMENTS and not _is_special(u)]
    errors = [abs(tables.predicted(use) / instructions - 1) for use, instructions in counted]
    return replace(tables, layers=len(errors), error=float(np.mean(errors)) if errors else None)


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


def code_of(built: Sequence[tuple[Sequence[LayerUse], Image]]) -> Code:
    """What images of layers and networks say. Of several images, the first in which one calls a function counts."""
    functions, steps = dict[str, int](), dict[str, int]()
    bases, loops = list[int](), list[tuple[int, int]]()
    for uses, image in built:
        called = [use for use in uses if is_called(use)]
        names = [own_function(use) for use in called]
        names += [name for use in called for name, count in kernels(use) if float(count) > 0]
        own = {name: _words(image.functions[name]) for name in names if name in image.functions}
        for name, size in own.items():
            functions.setdefault(name, size)
        if len(called) == 1:
            arguments = sum(_words(v) for k, v in image.arrays.items() if k == POINTERS or k.endswith(NUMBERS))
            steps.setdefault(own_function(called[0]), STEP + arguments)
        else:  # one step alone is called without a loop
            for use in called:  # of what runs in loops alone
                numbers = image.arrays.get(f"{identifier(use.name)}{NUMBERS}")
                if use.operator.loops is not None and numbers is not None:
                    steps.setdefault(own_function(use), STEP + POINTER * POINTERS_OF_TWO + _words(numbers))
            rest = image.flash_bytes - sum(map(_words, image.arrays.values())) - sum(own.values())
            count = len({use.loop for use in uses if use.loop})
            if count:
                loops.append((rest + image.arrays["vectors"], count))
            else:
                bases.append(rest + image.arrays["vectors"])
    base = int(np.median(bases))
    if loops:
        functions[LOOP] = _words(
            max(0, round(min((rest - base) / count for rest, count in loops)))
        )  # others have more helpers
    return Code({"base": base, **functions}, steps, max(image.stack_bytes for _, image in built))


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


def with_kinds(text: str, tables: Tables, kinds: Sequence[str]) -> str:
    """The file of a target, with the rows of these kinds behind its own. All others stay as they are."""
    text = re.sub(rf"^  ({'|'.join(kinds)})/\w+: .*\n", "", text, flags=re.MULTILINE)
    for name, values in _cycles(tables).items():
        own = {key: value for key, value in values.items() if key.partition("/")[0] in kinds}
        if own:
            text = re.sub(rf"^({name}:\n(?:  .*\n)*)", rf"\g<1>{_rows(own)}", text, flags=re.MULTILINE)
    return text


def _cycles(tables: Tables) -> dict[str, Mapping[str, float]]:
    return dict(zip(CYCLES, (tables.per_mac, tables.overheads, tables.per_element), strict=True))


def _rows(values: Mapping[str, float]) -> str:
    return "".join(f"  {key}: {value:g}\n" for key, value in values.items())


def _counts(use: LayerUse) -> dict[str, float]:
    """Products at each width, and overheads."""
    kind = _kind(use)
    counts = zip(use.weight_bits, products_by_width(use, kind).tolist(), strict=True)
    found = {f"a8w{bits}": count for bits, count in counts}
    return found | {name: count.item() for name, count in overheads(use, kind).items()}


def _elements(use: LayerUse) -> float:
    return use.out_elements.item() * prod(use.kernel)


def _key(use: LayerUse) -> str:
    return use.operator.priced_as or use.op
