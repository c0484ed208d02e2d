"""The file config.yaml of a run folder: all settings of the run, and the command that started it."""

import textwrap
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from search.atomic import write_text
from search.config.parse import parse, take_old_name
from search.config.schemas import OLD_NAME
from search.data import OPTIONS
from search.errors import PicojouleError, UsageError, file_errors
from search.files.places import read_from, written_for
from search.kinds import NOTHING, OBJECT, TEXT, WHOLE, either, having, unlike
from search.settings.run import Settings

CONFIG_FILE = "config.yaml"
GROUPS = ("model", "target", "task", "strategy", "space", "train", "budgets", "lambdas", "front", "limits")
KINDS = {group: OBJECT for group in GROUPS} | {  # of what the code reads before the schemas check all
    "data": having({"name": TEXT}),
    "front": having({}, {"lambdas": OBJECT}),
    "name": TEXT,
    OLD_NAME: either(TEXT, NOTHING),
}
MISFITS = (OmegaConfBaseException, ValueError, TypeError, OverflowError, RecursionError)  # of values in schemas


class ConfigError(PicojouleError, ValueError):
    """The configuration that a run folder keeps is damaged, or of another version."""


def write_config(settings: Settings, folder: Path, command: str, threads: int | None = None) -> None:
    """Writes all settings, and above them, as a comment, the command that started the run. Paths become absolute.

    Args:
        threads: number of threads of the run. Sums depend on it, so a run that goes on takes as many; None: as set.
    """
    values = written_for(folder, settings.plain_values)
    if threads is not None:
        values["train"] = {**values["train"], "threads": threads}
    text = textwrap.indent(command, "# ", lambda line: True)
    write_text(folder / CONFIG_FILE, f"{text}\n{OmegaConf.to_yaml(OmegaConf.create(values))}")


def read_config(folder: Path) -> Settings:
    """Settings of an earlier run.

    Raises:
        UsageError: the folder is no run folder, or the data of its run was given in Python.
        ConfigError: what it keeps makes no settings.
    """
    values = recorded(folder)
    if values["data"]["name"] not in OPTIONS:
        raise UsageError(f"resume '{folder}': its data was given in Python. Call compress(..., resume=True) there.")
    try:
        return parse(OmegaConf.create(values))
    except MISFITS as error:
        raise _damaged(folder / CONFIG_FILE, str(error)) from error


def recorded(folder: Path) -> dict[str, Any]:
    """What config.yaml of an earlier run holds, as plain values.

    Raises:
        UsageError: the folder is no run folder.
        ConfigError: its config.yaml is damaged.
    """
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise UsageError(f"resume '{folder}': no config.yaml there, so it is no run folder. Name runs/NAME/TIME.")
    try:
        with file_errors(path, "cannot be read"):
            values: Any = OmegaConf.to_container(OmegaConf.load(path))
    except (YAMLError, *MISFITS) as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(values, dict):
        raise _damaged(path, "there are no keys")
    found: dict[str, Any] = {"task": {"name": "classification"}, **values}  # earlier versions had no other task
    wrong = unlike(found, {name: kind for name, kind in KINDS.items() if name in found or name == "data"})
    wrong = wrong or unlike({"threads": None, **found.get("train", {})}, {"threads": either(WHOLE, NOTHING)})
    if wrong:
        raise _damaged(path, "; ".join(wrong.values()))
    take_old_name(found)
    return read_from(folder, found)


def _damaged(path: Path, why: str) -> ConfigError:
    return ConfigError(f"{path} is damaged: {' '.join(why.split()).rstrip('.')}. Restore it, or start a new run.")
