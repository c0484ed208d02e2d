"""The warnings in summary.json, as the terminal, the comparison and the report show them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from search.kinds import TEXT, Kind, having, listed

PARTS = ("name", "seen", "cause", "advice")
KIND: Kind = listed(having(dict.fromkeys(PARTS, TEXT)))


@dataclass(frozen=True)
class Warned:
    """A warning, and the networks that it is of.

    Attributes:
        name: of its kind: "at_chance".
        seen, cause, advice: whole sentences.
        of: places of the networks among all networks.
    """

    name: str
    seen: str
    cause: str
    advice: str
    of: tuple[int, ...]


def warned(networks: list[Mapping[str, Any]]) -> list[Warned]:
    """Each warning once, with the networks that have it. What is said of the float network, all points of a front say.

    Args:
        networks: of each network its part of summary.json; runs of earlier versions have no warnings there.
    """
    found: dict[tuple[str, str, str, str], list[int]] = {}
    for number, network in enumerate(networks):
        for w in network.get("warnings", ()):
            found.setdefault((w["name"], w["seen"], w["cause"], w["advice"]), []).append(number)
    return [
        Warned(name=name, seen=seen, cause=cause, advice=advice, of=tuple(of))
        for (name, seen, cause, advice), of in found.items()
    ]
