"""The tables of a target, fitted to what layers took."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from scipy.optimize import nnls

from cost_models.latency import gathered, kernel_kind
from cost_models.layer import LayerUse
from search.integer.traits import Work

KINDS = ("conv", "pointwise", "depthwise", "linear")
TABLES = ("cycles_per_mac", "cycles_per_output", "cycles_per_gathered", "cycles_per_element")


@dataclass(frozen=True)
class Tables:
    """Cycles, which are executed instructions: of a product by kind and width, and so on; see cost_models.target.

    Attributes:
        error: mean relative error of the layers that they are fitted to.
    """

    per_mac: Mapping[str, float]
    per_output: Mapping[str, float]
    per_gathered: Mapping[str, float]
    per_element: Mapping[str, float]
    error: float

    def predicted(self, use: LayerUse) -> float:
        """Instructions of a layer."""
        if use.operator.work is Work.NOTHING:
            return 0.0
        if not use.operator.weighted:
            return _elements(use) * self.per_element[_key(use)]
        kind = kernel_kind(use)
        rates = [*(self.per_mac[f"{kind}/a8w{bits}"] for bits in use.weight_bits), self.per_output[kind]]
        return float(np.dot(_counts(use), [*rates, self.per_gathered[kind]]))


def fitted(measured: Sequence[tuple[LayerUse, int]]) -> Tables:
    """The tables that fit layers best. Args: measured: a layer, and its instructions."""
    weighted: dict[str, list[tuple[LayerUse, int]]] = defaultdict(list)
    others: dict[str, list[float]] = defaultdict(list)
    for use, instructions in measured:
        if use.operator.weighted:
            weighted[kernel_kind(use)].append((use, instructions))
        elif use.operator.work is not Work.NOTHING:
            others[_key(use)].append(instructions / _elements(use))
    per_mac, per_output, per_gathered = dict[str, float](), dict[str, float](), dict[str, float]()
    for kind, layers in weighted.items():
        widths = sorted({bits for use, _ in layers for bits in use.weight_bits}, reverse=True)
        rows = np.zeros((len(layers), len(widths) + 2))
        for row, (use, instructions) in zip(rows, layers, strict=True):
            *products, outputs, codes = _counts(use)
            for bits, count in zip(use.weight_bits, products, strict=True):
                row[widths.index(bits)] = count / instructions
            row[-2:] = outputs / instructions, codes / instructions
        rates, _ = nnls(rows, np.ones(len(layers)))
        per_mac |= {f"{kind}/a8w{bits}": round(float(rate), 3) for bits, rate in zip(widths, rates, strict=False)}
        per_output[kind], per_gathered[kind] = (round(float(rate), 3) for rate in rates[-2:])
    per_element = {key: round(float(np.exp(np.mean(np.log(rates)))), 2) for key, rates in others.items()}
    tables = Tables(per_mac, per_output, per_gathered, per_element, 0.0)
    counted = [(use, n) for use, n in measured if use.operator.work is not Work.NOTHING]
    errors = [abs(tables.predicted(use) / instructions - 1) for use, instructions in counted]
    return Tables(per_mac, per_output, per_gathered, per_element, float(np.mean(errors)))


def written(text: str, tables: Tables) -> str:
    """The file of a target, with these tables in the place of its own."""
    each = (tables.per_mac, tables.per_output, tables.per_gathered, tables.per_element)
    for name, values in zip(TABLES, each, strict=True):
        block = "".join(f"  {key}: {value:g}\n" for key, value in values.items())
        text = re.sub(rf"^{name}:\n(  .*\n)*", f"{name}:\n{block}", text, flags=re.MULTILINE)
    return text


def _counts(use: LayerUse) -> list[float]:
    """Products at each width, outputs, and gathered codes."""
    products = [float(use.fan_in * count * use.positions) for count in use.out_per_width]
    return [*products, float(use.out_channels * use.positions), float(gathered(use))]


def _elements(use: LayerUse) -> float:
    return float(use.out_elements) * prod(use.kernel)


def _key(use: LayerUse) -> str:
    return use.operator.priced_as or use.op
