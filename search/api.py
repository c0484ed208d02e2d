"""A search from Python, for a model and data that exist already. Settings are those of the command line."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from inspect import signature
from os import PathLike
from pathlib import Path
from reprlib import repr as short
from typing import Any

import torch
from torch import nn

from search import distributed
from search.config import CONFIG_FILE, composed, overridden, recorded, write_config
from search.data import Data, from_arrays
from search.errors import UsageError
from search.experiment import prepare
from search.files.run_folders import RunFolderError, refuse_taken
from search.run import execute
from search.settings.require import plain_numbers, require
from search.settings.run import Settings
from search.training.process import process_for

GIVEN = {  # what the arguments of `compress` give: key or group -> which argument that is
    "data": "data is an argument of compress. Give it other data",
    "model": "model is an argument of compress. Give it another network",
    "folder": "folder is an argument of compress. Give it another path",
    "name": "a run from Python has the name of its folder. Give compress another folder",
    "resume": "resume is an argument of compress. Give it True, and the run's folder as folder",
}


def compress(
    model: nn.Module,
    data: Data,
    budgets: Mapping[str, float],
    folder: str | Path,
    overrides: Sequence[str] = (),
    resume: bool = False,
) -> dict[str, Any]:
    """Prunes, quantizes and trains a network until it meets its budgets, and writes it and its integers to a folder.

    Args:
        model: takes (N, *data.input_shape), normalised, and returns (N, classes). Training starts from its weights. The
            model itself is not modified.
        data: what `search.data.from_arrays` returns, for example.
        budgets: cost -> limit, in the cost's unit; see cost_models.COST_MODELS.
        overrides: what would follow `python -m search`: ["target=mpic", "strategy.epochs=20"]. What an argument of this
            function gives is refused here. Where an experiment has it, the argument is what counts.
        resume: whether to go on with the run that was stopped in the folder. All other arguments must be as they were.

    Returns:
        What the folder's summary.json holds.

    Raises:
        RunFolderError: there is something in the folder, and resume is False; there is no run in it, and resume is
            True; or its run began with other arguments.
        UsageError: an argument is of another kind, an override sets what an argument gives, or a setting has a value
            that it cannot have.
        UnsupportedNetwork, BudgetError, DataError, LoweringError: as their messages say.
    """
    _refuse_other_kinds(model, data, budgets, folder, overrides, resume)
    folder = Path(folder)
    settings = _settings(model, data, budgets, folder, overrides)
    if resume:
        _refuse_no_run(folder)
        settings = _as_begun(settings, recorded(folder))
    with process_for(settings.train) as device:
        if not resume:
            distributed.agreed(lambda: refuse_taken(folder))
        experiment = prepare(settings, lambda _: model, folder)
        call = f"search.api.compress(model, data, {settings.budgets}, {str(folder)!r}, {list(overrides)})"
        begin = partial(write_config, settings, folder, call, torch.get_num_threads())
        return execute(experiment, folder, device, None if resume else begin)


def _refuse_other_kinds(model: Any, data: Any, budgets: Any, folder: Any, overrides: Any, resume: Any) -> None:
    """Raises UsageError for an argument that is something else than `compress` takes."""
    listed = isinstance(overrides, Sequence) and not isinstance(overrides, str)
    for name, value, holds, allowed in (
        ("model", model, isinstance(model, nn.Module), "an nn.Module, not its class or its name"),
        ("data", data, isinstance(data, Data), "what search.data.from_arrays returns"),
        ("budgets", budgets, isinstance(budgets, Mapping), 'limits by cost, as in {"flash_bytes": 24576}'),
        ("folder", folder, isinstance(folder, str | PathLike) and folder != "", "a path"),
        ("overrides", overrides, listed, 'a list of texts, as in ["target=mpic"]'),
        ("resume", resume, isinstance(resume, bool), "True or False"),
    ):
        require(name, short(value), holds, allowed)
    for override in overrides:
        require("overrides", short(override), isinstance(override, str), "texts, as on the command line")


def _settings(
    model: nn.Module, data: Data, budgets: Mapping[str, float], folder: Path, overrides: Sequence[str]
) -> Settings:
    """The settings of the command line, with what is given in Python in its place. config.yaml says what that was."""
    overriding = overridden(overrides)
    _refuse_given(overriding)
    settings = composed(overrides)
    _refuse_other_limits(overriding, settings.budgets, budgets)
    given: dict[str, Any] = {
        "name": folder.absolute().name,
        "folder": str(folder),
        "model": {"_target_": f"{type(model).__module__}.{type(model).__qualname__}"},
        "budgets": plain_numbers("budgets", {**settings.budgets, **budgets}),
    }
    plain = {**settings.plain_values, **given, "data": {"name": data.name}}
    return replace(settings, **given, data=data, plain_values=plain)


def _refuse_given(overriding: Mapping[str, str]) -> None:
    """Raises UsageError for an override of what the arguments give. It would be lost without a word."""
    for key, override in overriding.items():
        group, _, name = key.partition(".")
        if group in GIVEN:
            advice = GIVEN[group]
            if group == "data" and name in signature(from_arrays).parameters:
                advice = f"data is an argument of compress. Give {name}= to search.data.from_arrays"
            raise UsageError(f"overrides, {override!r}: {advice}, and leave this override out.")


def _refuse_other_limits(
    overriding: Mapping[str, str], of_settings: Mapping[str, float], budgets: Mapping[str, float]
) -> None:
    """Raises UsageError for a limit that an override and the argument `budgets` set to different values."""
    for name, limit in budgets.items():
        override = overriding.get(f"budgets.{name}")
        if override is not None and of_settings.get(name) != limit:
            raise UsageError(
                f"overrides, {override!r}: the argument budgets of compress has {name}={limit}. Give the limit once."
            )


def _refuse_no_run(folder: Path) -> None:
    """Raises RunFolderError for a folder in which no run has begun."""
    if not (folder / CONFIG_FILE).is_file():
        raise RunFolderError(
            f"folder '{folder}': no {CONFIG_FILE} there, so no run has begun in it that could go on. "
            "Start one with resume=False, in a folder that is empty or does not exist."
        )


def _as_begun(settings: Settings, begun: Mapping[str, Any]) -> Settings:
    """The settings with the name and the number of threads that the run began with, even if its folder was renamed."""
    threads = begun.get("train", {}).get("threads", settings.train.threads)
    name = begun.get("name", settings.name)
    return replace(settings, name=name, train=replace(settings.train, threads=threads))
