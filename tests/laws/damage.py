"""Changes of JSON documents, drawn at random."""

import json
import random
from collections.abc import Iterator
from typing import Any

VALUES: list[Any] = [
    "8",
    "",
    [],
    {},
    [[]],
    None,
    True,
    0,
    -1,
    1,
    2,
    3.0,
    0.5,
    1e300,
    2**31,
    2**63,
    -(2**70),
    "x",
    [2, 2],
]


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of all values in a JSON document, containers too."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from leaves(inner, (*path, key))


def damage_json(graph: Any, draw: random.Random) -> None:
    *path, last = draw.choice(list(leaves(graph)))
    holder = graph
    for key in path:
        holder = holder[key]
    match draw.randrange(5):
        case 0:
            del holder[last]
        case 1 if isinstance(holder, dict):
            holder[f"{last}2"] = holder[last]
        case 2 if isinstance(holder[last], int):
            holder[last] += draw.choice([-2, -1, 1, 2, 7])
        case 3:
            places = list(leaves(graph))
            other = graph
            for key in draw.choice(places):
                other = other[key]
            holder[last] = json.loads(json.dumps(other))
        case _:
            holder[last] = draw.choice(VALUES)
