"""How a task words its figures for people: plain values that the terminal and the report show."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from search.files.documents import Kind


@dataclass(frozen=True)
class Metric:
    """The figure that networks are chosen by. A higher value is better.

    Attributes:
        name: as in "accuracy/val" of results and histories, and as the key of summary.json.
        short: the name in a line of the log.
        unit: behind a value that is written for people.
        factor: from the value as it is stored to the value that is written.
        digits: decimals of the value that is written.
        highest: the best value that there can be; None: there is no limit.
    """

    name: str
    short: str
    unit: str
    factor: float
    digits: int
    highest: float | None = None

    def of(self, split: str) -> str:
        """The key of the metric on a split: "accuracy/val"."""
        return f"{self.name}/{split}"

    def written(self, value: float) -> str:
        """0.8715 -> "87.15%"."""
        return f"{value * self.factor:.{self.digits}f}{self.unit}"


@dataclass(frozen=True)
class Details:
    """What a task says of an exported network beside the metric.

    Attributes:
        facts: name -> worded value, one line each.
        title: of the table; "" where there is no table.
        head: names of the table's columns.
        is_text: of each column, whether it holds text; other columns hold numbers.
        rows: cells of the table, as many a row as the head has.
        caption: what the columns mean, in whole sentences, for who has the room to show it.
    """

    facts: Mapping[str, str]
    title: str = ""
    head: tuple[str, ...] = ()
    is_text: tuple[bool, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    caption: str = ""


class Words(Protocol):
    """The wording of a task. It needs no data: the report words runs that have ended.

    Attributes:
        kinds: key of summary.json -> what the task writes there beside the metric, so that damage to it is found.
    """

    metric: Metric
    kinds: Mapping[str, Kind]

    def details(self, summary: Mapping[str, Any], most: int) -> Details:
        """From what summary.json holds of one network; what the summary lacks is left out.

        Args:
            most: rows of the table; where there are more, the worst are shown.
        """
