"""A search from the command line: begins a run, goes on with one, or sweeps over several."""

import logging
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import hydra
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from search import distributed
from search.config import CONF, CONFIG, explained, parse, read_config, register, write_config
from search.errors import UsageError
from search.experiment import prepare
from search.files.run_folders import new_folder, refuse_taken
from search.model import model_maker
from search.monitor.failures import ending, pipe_may_close, stops_in_one_line
from search.monitor.started import CONSOLE, started_as
from search.run import execute, run
from search.settings.require import require
from search.settings.run import Settings
from search.training.process import process_for

FULL_ERROR = "HYDRA_FULL_ERROR"  # with it in the environment, Hydra raises its errors and prints none

Program = Sequence[str]  # the words before the arguments of a command that starts a search


def main() -> None:
    """Does what the arguments of the process ask for."""
    register()
    program, full_error = started_as(), os.environ.get(FULL_ERROR)

    def job(config: DictConfig) -> str | None:  # of a sweep, it may be called in a process that was started otherwise
        with _environment(FULL_ERROR, full_error):
            return _job(config, program)

    with ending(), explained(), pipe_may_close(), _environment(FULL_ERROR, "1"):
        _refuse_others(sys.argv[1:])
        hydra.main(version_base="1.3", config_path=str(CONF), config_name=CONFIG)(job)()


@contextmanager
def _environment(name: str, value: str | None) -> Iterator[None]:
    """Inside it the variable has this value, or is not there."""
    before = os.environ.get(name)
    _set(name, value)
    try:
        yield
    finally:
        _set(name, before)


def _set(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


def _job(config: DictConfig, program: Program) -> str | None:
    """A run. Of a sweep it returns why it failed, so that others go on; None where it did not fail."""
    try:
        with ending():
            _asked_for(config, program)
    except SystemExit as stop:
        if _job_number() is None or not isinstance(stop.code, str):  # a signal ends the whole sweep
            raise
        print(stop.code, file=sys.stderr)
        return stop.code.removeprefix("picojoule: ")
    return None


def _asked_for(config: DictConfig, program: Program) -> None:
    if config.quiet:
        for library in ("search", "hydra"):
            logging.getLogger(library).setLevel(logging.WARNING)
    _refuse_nothing(program)
    if config.resume == "":
        raise UsageError("resume: names no folder. Write resume=runs/NAME/TIME, the folder of a run.")
    if config.resume is not None:
        _go_on(Path(config.resume), program, config.quiet)
    else:
        _begin(parse(config), program)


def _refuse_others(words: Sequence[str]) -> None:
    """Refuses settings for a resumed run, which takes those of its folder. How much it shows may change.

    They are refused before Hydra reads them, which knows no settings of that folder and finds other faults in them.

    Args:
        words: of the command line.
    """
    overrides = [word for word in words if "=" in word and not word.startswith(("-", "hydra"))]
    others = [override for override in overrides if not override.startswith(("resume=", "quiet="))]
    if others and any(override.startswith("resume=") for override in overrides):
        raise UsageError(
            f"resume: {others} cannot be changed in a run that has begun, which takes its settings from its folder. "
            "Start a new run with them. Where data was moved, correct its place in the config.yaml of that folder."
        )


def _refuse_nothing(program: Program) -> None:
    """Refuses a command that asks for nothing, which would train for minutes on images that nobody named."""
    if not HydraConfig.get().overrides.task and HydraConfig.get().job.config_name == CONFIG:
        raise UsageError(
            f"nothing is asked for. Write `{shlex.join(program)} +experiment=mobilenet_mcu` to start a search, or "
            "resume=runs/NAME/TIME to go on with one. --help lists experiments and all keys; README.md says how to "
            "search with your own network and data."
        )


def _job_number() -> int | None:
    ours = HydraConfig.get()
    return ours.job.num if ours.mode == RunMode.MULTIRUN else None


def _command(program: Program, overrides: Sequence[str]) -> str:
    """The command that starts this run with these overrides. Of a sweep it starts this run alone."""
    if distributed.world_size() > 1:
        here = distributed.local().processes
        nodes = distributed.world_size() // here
        launcher = ["torchrun", *([f"--nnodes={nodes}"] if nodes > 1 else []), f"--nproc-per-node={here}"]
        installed = ["--no-python", CONSOLE]  # torchrun starts it as a program and not as a Python module
        program = [*launcher, *(program[1:] or installed)]
    sources = HydraConfig.get().runtime.config_sources
    folders = [f"--config-dir={source.path}" for source in sources if source.provider == "command-line"]
    return shlex.join([*program, *folders, *overrides])


def _stopping(folder: Path, program: Program) -> AbstractContextManager[None]:
    """Names the command that goes on, where a signal stops the run inside."""
    return stops_in_one_line(f"Go on with: {_command(program, [f'resume={folder}'])}")


def _begin(settings: Settings, program: Program) -> None:
    """A new run. One that is refused leaves nothing: its folder is made when all is accepted."""
    if settings.folder is not None:
        refuse_taken(Path(settings.folder))
    else:
        require(
            "name",
            settings.name,
            Path(settings.name).name == settings.name != "..",
            "the name of one folder, without /",
        )
    with process_for(settings.train) as device:
        experiment = prepare(settings, model_maker(settings.model))
        name, job = settings.name, _job_number()
        folder = Path(distributed.agreed(lambda: str(new_folder(name, settings.folder, job))))
        command = _command(program, HydraConfig.get().overrides.task)
        begin = partial(write_config, settings, folder, command, torch.get_num_threads())
        with _stopping(folder, program):
            execute(experiment, folder, device, begin)


def _go_on(folder: Path, program: Program, quiet: bool) -> None:
    settings = read_config(folder)
    settings = replace(settings, quiet=quiet or settings.quiet)
    with _stopping(folder, program):
        run(settings, model_maker(settings.model), folder)
