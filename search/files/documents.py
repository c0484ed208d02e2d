"""JSON documents that are read: objects of a known format, and files of lines, one line at a time."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from reprlib import repr as short
from typing import Any, TypeVar

from search.errors import UsageError, file_errors

T = TypeVar("T")


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
    if path.is_dir():
        raise UsageError(f"{path}: is a folder. Name the file in it, such as results.jsonl in the folder of a run.")
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
