"""Settings that name files which a run reads. A run goes on wherever its folder lies, and from any working folder."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

FOLDER = "folder"  # the setting that says where the run itself is
PLACES = ("data.file", "data.folder", "train.warmup.source", "strategy.table", "strategy.storage")


def written_for(folder: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The plain settings of a run as its folder keeps them: with paths that mean the same from anywhere."""
    return _places_changed({**settings, FOLDER: _absolute(str(folder))}, _absolute)


def read_from(folder: Path, kept: Mapping[str, Any]) -> dict[str, Any]:
    """What a folder keeps, where it lies now.

    What is not there any more and lies as it did beside the folder, which was moved together with it, is found there.
    """
    was = kept.get(FOLDER)
    if not isinstance(was, str):
        return dict(kept)

    def moved(place: str) -> str:
        beside = folder.absolute() / os.path.relpath(place, was)
        return os.path.normpath(beside) if not Path(place).exists() and beside.exists() else place

    return _places_changed(kept, lambda place: moved(place) if Path(place).is_absolute() else place)


def _absolute(place: str) -> str:
    return str(Path(place).expanduser().absolute())


def _places_changed(settings: Mapping[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """A copy of the settings in which every path is changed that names a file; URLs of databases stay as they are."""
    changed = dict(settings)
    for key in PLACES:
        *groups, name = key.split(".")
        level = changed
        for group in groups:
            inner = level.get(group)
            if not isinstance(inner, Mapping):
                break
            level[group] = level = dict(inner)
        else:
            place = level.get(name)
            if isinstance(place, str) and place and "://" not in place:
                level[name] = change(place)
    return changed
