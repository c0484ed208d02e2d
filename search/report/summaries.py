"""summary.json of a run or of a point of its front. Fields of the wrong kind are named and left out."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search.files.documents import json_object
from search.files.run_folders import RunFolderError
from search.kinds import FINITE, NUMBER, OBJECT, TEXT, WHOLE, Kind, by_name, either, having, unlike
from search.monitor import warned
from search.tasks import TASKS

SUMMARY_FILE = "summary.json"
DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d")
KINDS: dict[str, Kind] = {
    "experiment": TEXT,
    "seed": WHOLE,
    "costs": by_name(having({"found": FINITE, "unit": TEXT}, {"seed_network": FINITE})),
    "budgets": by_name(either(FINITE, having({"limit": FINITE}))),
    "lambdas": by_name(FINITE),
    "seconds": by_name(NUMBER),
    "epochs": by_name(NUMBER),
    "versions": by_name(TEXT),
    "files": by_name(FINITE),
    "mismatches": by_name(FINITE),
    "pattern": having({"pattern": TEXT, "zeros": FINITE, "weights": FINITE}),
    "front": having({"knee": TEXT}),
    "warnings": warned.KIND,
    "stages": by_name(FINITE),
    "below_float": by_name(FINITE),
    "data": having({"name": TEXT}, dict.fromkeys(("train", "val", "test"), WHOLE)),
    "date": Kind("a date and time", lambda value: TEXT.holds(value) and bool(DATE.match(value))),
    "points": Kind("a list", lambda value: isinstance(value, list)),
    "point": TEXT,
}
for task in TASKS.values():
    KINDS |= {task.words.metric.name: by_name(by_name(FINITE)), **task.words.kinds}


def read_summary(path: Path, faults: list[str]) -> dict[str, Any]:
    """What the file holds; empty where there is no file.

    Raises:
        RunFolderError: the file is no JSON.
    """
    if not path.is_file():
        return {}
    try:
        found = json_object(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunFolderError(
            f"{path}: is damaged ({error}). Restore it; or delete it and resume the run, which writes it anew."
        ) from error
    return checked(path, found, faults)


def checked(path: Path, document: Mapping[str, Any], faults: list[str]) -> dict[str, Any]:
    """The document without fields of the wrong kind."""
    wrong = unlike(document, {name: kind for name, kind in KINDS.items() if name in document})
    faults += [f"{path}: {fault}; it is left out. Restore the file." for fault in wrong.values()]
    return {name: value for name, value in document.items() if name not in wrong}


def entries(path: Path, summary: Mapping[str, Any], faults: list[str]) -> list[tuple[Path, dict[str, Any]]]:
    """The folder of the run's one point, or of each point of its front, and what the run's summary says of it."""
    if "points" not in summary:
        return [(path.parent, dict(summary))] if summary else []
    found = []
    for number, entry in enumerate(summary["points"], start=1):
        wrong = unlike(entry, {"folder": TEXT}) if OBJECT.holds(entry) else {"": f"{entry!r:.40} is no object"}
        if wrong:
            faults.append(
                f"{path}, point {number}: {'; '.join(wrong.values())}; the point is left out. Restore the file."
            )
        else:
            found.append((path.parent / entry["folder"], checked(path, entry, faults)))
    return found
