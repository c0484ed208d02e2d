"""JSON documents that are read: whether their fields are of the right kind, and files of lines, one line at a time."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as short
from sys import float_info
from typing import Any, TypeVar

from search.errors import UsageError, file_errors

T = TypeVar("T")


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
    return Kind(f"[{kind.name}, ...]", lambda value: isinstance(value, list) and all(map(kind.holds, value)))


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


def json_object(text: str) -> dict[str, Any]:
    """The JSON object that a text holds.

    Raises:
        UsageError: the text is no JSON, or something other than an object.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"is no JSON ({error})") from error
    if not isinstance(document, dict):
        raise UsageError(f"is {short(document)}, not an object")
    return document


def check_format(document: Mapping[str, Any], known: int) -> None:
    """Checks the number of a document's format.

    Raises:
        UsageError: another version wrote the document.
    """
    if document.get("format") != known:
        raise UsageError(
            f"is of format {short(document.get('format'))}, this version reads {known}: "
            "read it with the version of picojoule that wrote it"
        )


def read_lines(path: Path, read: Callable[[str], T]) -> tuple[list[T], list[str]]:
    """All lines that can be read, and for every line that cannot be read, where it is and why.

    Args:
        read: makes something of a line, or raises UsageError.

    Raises:
        UsageError: there is no such file.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file. A run writes {path.name} into its folder.")
    found, faults = [], []
    with file_errors(path, "cannot be read"):
        content = path.read_bytes()
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            found.append(read(_decoded(line)))
        except ValueError as error:
            faults.append(f"{path}, line {number}: {error}")
    return found, faults


def _decoded(line: bytes) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"is no UTF-8 text (byte {line[error.start]:#04x}, column {error.start + 1})") from error
