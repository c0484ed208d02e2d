"""A search from Python: a model and data that exist already, settings as on the command line."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from search import distributed
from search.config import composed, write_config
from search.data import Data
from search.files.run_folders import new_folder
from search.run import Run
from search.settings.run import Settings
from search.training.runtime import device_of


def compress(
    model: nn.Module,
    data: Data,
    budgets: Mapping[str, float],
    folder: str | Path,
    overrides: Sequence[str] = (),
    resume: bool = False,
) -> dict[str, Any]:
    """Prune, quantize and train a network until it meets its budgets; write the result and its integers to a folder.

    Args:
        model: takes (N, *data.input_shape), normalised, and returns (N, classes). Training starts from its weights; the
            model itself is not modified.
        data: of `search.data.from_arrays`, say.
        budgets: cost -> limit, in the cost's unit; see cost_models.COST_MODELS.
        overrides: as behind `python -m search`: ["target=mpic", "strategy.epochs=20"].
        resume: go on with the run that was stopped in the folder; all other arguments as they were.

    Returns:
        what the folder's summary.json holds.

    Raises:
        RunFolderError: there is something in the folder, and resume is False.
        UnsupportedNetwork, BudgetError, DataError, LoweringError: as their messages say.
    """
    folder = Path(folder)
    settings = _settings(model, data, budgets, folder, overrides)
    distributed.start(device_of(settings.train.device))
    if not resume:
        distributed.agreed(lambda: str(new_folder(settings.experiment, settings.folder)))
    run = Run(settings, lambda _: model, folder)
    if not resume and distributed.rank() == 0:
        call = f"search.api.compress(model, data, {dict(budgets)}, {str(folder)!r}, {list(overrides)})"
        write_config(settings, folder, call)
    return run()


def _settings(
    model: nn.Module, data: Data, budgets: Mapping[str, float], folder: Path, overrides: Sequence[str]
) -> Settings:
    """The command line's, with what is given in Python in its place; config.yaml says what that was."""
    settings = composed(overrides)
    given = {
        "experiment": folder.name,
        "folder": str(folder),
        "model": {"_target_": f"{type(model).__module__}.{type(model).__qualname__}"},
        "budgets": {**settings.budgets, **budgets},
    }
    plain = {**settings.plain_values, **given, "data": {"name": data.name}}
    return replace(settings, **given, data=data, plain_values=plain)
