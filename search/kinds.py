"""Kinds of JSON values, and whether the fields of a document are of the right kind."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from reprlib import repr as short
from sys import float_info
from typing import Any


@dataclass(frozen=True)
class Kind:
    """A kind of value.

    Attributes:
        name: what messages call it: "a number", "{name: a number}", "[text, ...]".
        holds: whether a value is of this kind.
    """

    name: str
    holds: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or (_is_finite(value) and isinstance(value, int))


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= float_info.max


def by_name(kind: Kind) -> Kind:
    """Objects whose fields may have any name and are all of one kind."""

    def holds(value: Any) -> bool:
        return isinstance(value, dict) and all(isinstance(k, str) and kind.holds(v) for k, v in value.items())

    return Kind(f"{{name: {kind.name}}}", holds)


def listed(kind: Kind) -> Kind:
    """Lists whose entries are all of one kind."""
    return Kind(f"[{kind.name}, ...]", lambda value: isinstance(value, list | tuple) and all(map(kind.holds, value)))


def whole(low: int, high: int) -> Kind:
    """Whole numbers from low to high."""
    return Kind(f"a whole number of {low}..{high}", lambda value: WHOLE.holds(value) and low <= value <= high)


def having(needed: Mapping[str, Kind], optional: Mapping[str, Kind] | None = None) -> Kind:
    """Objects that have these fields; they may have others besides."""

    def holds(value: Any) -> bool:
        if not isinstance(value, dict):
            return False
        return not unlike(value, {**needed, **{name: kind for name, kind in (optional or {}).items() if name in value}})

    return Kind(f"{{{', '.join(f'{name}: {kind.name}' for name, kind in needed.items())}}}", holds)


def either(*kinds: Kind) -> Kind:
    """Values of any of these kinds."""
    return Kind(" or ".join(kind.name for kind in kinds), lambda value: any(kind.holds(value) for kind in kinds))


TEXT = Kind("text", lambda value: isinstance(value, str))
TRUTH = Kind("true or false", lambda value: isinstance(value, bool))
WHOLE = Kind("a whole number", lambda value: isinstance(value, int) and not isinstance(value, bool))
COUNT = Kind("a whole number, 0 or more", lambda value: WHOLE.holds(value) and value >= 0)
NUMBER = Kind("a number", _is_number)
FINITE = Kind("a finite number", _is_finite)
OBJECT = Kind("an object", lambda value: isinstance(value, dict))
NOTHING = Kind("null", lambda value: value is None)


def unlike(document: Mapping[str, Any], kinds: Mapping[str, Kind]) -> dict[str, str]:
    """For each field that is missing or of another kind: its name -> what is there, and what should be there."""
    found = {}
    for name, kind in kinds.items():
        if name not in document:
            found[name] = f"{name} is missing"
        elif not kind.holds(document[name]):
            found[name] = f"{name} is {short(document[name])}, not {kind.name}"
    return found
