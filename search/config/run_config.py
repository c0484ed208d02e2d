"""The file config.yaml of a run folder: all settings of the run, and the command that started it."""

import textwrap
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from search.atomic import write_text
from search.config.parse import parse, take_old_name
from search.data import OPTIONS
from search.errors import UsageError, file_errors
from search.settings.run import Settings

CONFIG_FILE = "config.yaml"


def write_config(settings: Settings, folder: Path, command: str, threads: int | None = None) -> None:
    """Writes all settings, and above them, as a comment, the command that started the run.

    Args:
        threads: number of threads of the run. Sums depend on it, so a run that goes on takes as many; None: as set.
    """
    values = dict(settings.plain_values)
    if threads is not None:
        values["train"] = {**values["train"], "threads": threads}
    text = textwrap.indent(command, "# ", lambda line: True)
    write_text(folder / CONFIG_FILE, f"{text}\n{OmegaConf.to_yaml(OmegaConf.create(values))}")


def read_config(folder: Path) -> Settings:
    """Settings of an earlier run.

    Raises:
        UsageError: the folder is no run folder, or the data of its run was given in Python.
    """
    values = recorded(folder)
    if values["data"]["name"] not in OPTIONS:
        raise UsageError(f"resume '{folder}': its data was given in Python. Call compress(..., resume=True) there.")
    return parse(OmegaConf.create(values))


def recorded(folder: Path) -> dict[str, Any]:
    """What config.yaml of an earlier run holds, as plain values.

    Raises:
        UsageError: the folder is no run folder, or its config.yaml is damaged.
    """
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise UsageError(f"resume '{folder}': no config.yaml there, so it is no run folder. Name runs/NAME/TIME.")
    try:
        with file_errors(path, "cannot be read"):
            values: Any = OmegaConf.to_container(OmegaConf.load(path))
    except (YAMLError, OmegaConfBaseException):
        values = None
    data = values.get("data") if isinstance(values, dict) else None
    if not isinstance(data, dict) or "name" not in data:
        raise UsageError(f"resume '{folder}': {path} is damaged. Restore it, or start a new run.")
    found: dict[str, Any] = values
    found.setdefault("task", {"name": "classification"})  # runs of earlier versions had no other task
    take_old_name(found)
    return found
