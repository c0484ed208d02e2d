"""How a task words its figures for people: plain values that the terminal and the report show."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from search.kinds import Kind

# The stages of a run at which the metric is measured, in their order, by their names in summary.json.
STAGES = {
    "float": "float network",
    "calibrated": "calibrated",
    "searched": "after the search",
    "decided_stale_norms": "as decided",
    "decided": "norms estimated anew",
    "switch": "at the switch to integers",
    "quantized": "fine-tuned, before integers",
    "integer": "integers",
}


# What people read for the name of a cost. In settings and in files the names on the left stand.
COSTS = {
    "flash_bytes": "flash",
    "peak_ram_bytes": "peak RAM",
    "image_flash_bytes": "flash of the image",
    "image_ram_bytes": "RAM of the image",
    "macs": "multiply-adds",
    "parameters": "parameters",
    "bops": "bit operations",
    "energy_pj": "energy",
    "latency_cycles": "latency",
}


@dataclass(frozen=True)
class Metric:
    """The figure that networks are chosen by. A higher value is better.

    Attributes:
        name: the first part of "accuracy/val" in results and histories, and a key of summary.json.
        short: the name that a line of the log has room for.
        unit: stands behind a value that is written for people.
        factor: the value that is written is the value that is stored times this.
        digits: number of decimals of the value that is written.
        highest: the best value that there can be; None: there is no limit.
        point: what counts as a point of difference, in stored values: a hundredth of the usual range.
    """

    name: str
    short: str
    unit: str
    factor: float
    digits: int
    highest: float | None = None
    point: float = 0.01

    def of(self, split: str) -> str:
        """The key of the metric on a split: "accuracy/val"."""
        return f"{self.name}/{split}"

    def written(self, value: float) -> str:
        """0.8715 -> "87.15%"."""
        return f"{value * self.factor:.{self.digits}f}{self.unit}"

    def difference(self, value: float) -> str:
        """0.0215 -> "2.15 points", for a difference of two percentages is not one of them."""
        return f"{value * self.factor:.{self.digits}f}{' points' if self.unit == '%' else self.unit}"


@dataclass(frozen=True)
class Details:
    """What a task says of an exported network beside the metric.

    Attributes:
        facts: name -> worded value, one line each.
        caution: what stands beside the metric where the metric alone misleads; "" where it does not.
        title: of the table; "" where there is no table.
        head: names of the table's columns.
        is_text: of each column, whether it holds text; other columns hold numbers.
        rows: cells of the table, as many a row as the head has.
        caption: what the columns mean, in whole sentences, where there is room to show it.
    """

    facts: Mapping[str, str]
    caution: str = ""
    title: str = ""
    head: tuple[str, ...] = ()
    is_text: tuple[bool, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    caption: str = ""


class Words(Protocol):
    """The wording of a task. It needs no data, because the report words runs that have ended.

    Attributes:
        kinds: key of summary.json -> what the task writes there beside the metric, so that damage to it is found.
    """

    metric: Metric
    kinds: Mapping[str, Kind]

    def details(self, summary: Mapping[str, Any], most: int) -> Details:
        """The details of one network, from its part of summary.json. What the summary lacks is left out.

        Args:
            most: the most rows of the table. Where there are more, the worst are shown.
        """
