"""The HTML file: a template, its style and scripts, and the document that they draw, all in one file."""

import json
import shlex
from collections.abc import Callable, Sequence
from html import escape
from importlib.resources import files
from math import isfinite
from pathlib import Path
from typing import Any

from search.atomic import write_text
from search.monitor.started import started_as
from search.report.document import document
from search.report.runs import read_run

REPORT_FILE = "report.html"
ASSETS = files("search.report") / "assets"
STYLES = ("colours", "text", "charts", "legends", "tables", "narrow")
SCRIPTS = (
    "draw",
    "tables",
    "text",
    "verdict",
    "front",
    "network",
    "budgets",
    "rivals",
    "curves",
    "decisions",
    "sensitivity",
    "run",
    "warnings",
    "main",
)


def write_report(folders: Sequence[Path], path: Path) -> list[str]:
    """Writes the file. Returns what could not be read, and where.

    Raises:
        RunFolderError: a folder is no run folder.
        UsageError: there is nothing to show.
    """
    shown = document([read_run(folder) for folder in folders])
    write_text(path, page(shown))
    faults: list[str] = shown["faults"]
    return faults


def write_run_report(folder: Path, note: Callable[[str], None]) -> None:
    """Writes the report of a run that has just ended. The run is whole without it, so an error is only noted."""
    try:
        for fault in write_report([folder], folder / REPORT_FILE):
            note(f"report: {fault}")
    except Exception as error:
        note(
            f"report: not written ({type(error).__name__}: {error}). Nothing else is lost; "
            f"`{shlex.join([*started_as(), 'report', str(folder)])}` tries again."
        )


def page(shown: dict[str, Any]) -> str:
    style = "\n".join(_asset(f"{name}.css") for name in STYLES)
    scripts = "\n".join(_asset(f"{name}.js") for name in SCRIPTS)
    parts = {"title": escape(shown["title"]), "style": style, "scripts": scripts, "document": _embedded(shown)}
    html = _asset("page.html")
    for name, part in parts.items():
        before, after = html.split(f"<!--{name}-->", maxsplit=1)
        html = before + part + after
    return html.encode("utf-8", "replace").decode("utf-8")  # a damaged file may hold halves of characters


def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


def _embedded(value: dict[str, Any]) -> str:
    """JSON in which no parser of HTML finds markup."""
    text = json.dumps(_finite(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _finite(value: Any) -> Any:
    """The value with None in the place of NaN and infinity, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not isfinite(value) else value
