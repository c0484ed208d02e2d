"""`python -m search +experiment=NAME [overrides]`, `python -m search resume=runs/NAME/TIME`."""

import logging
import shlex
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path

import hydra
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from search import distributed
from search.config import parse, read_config, register, write_config
from search.errors import UsageError
from search.experiment import prepare
from search.files.run_folders import new_folder, refuse_taken
from search.model import model_maker
from search.monitor.failures import ending, stops_in_one_line
from search.run import execute, run
from search.settings.run import Settings
from search.training.process import process_for

register()

CONFIG = "config"  # conf/config.yaml


def _refuse_others(overrides: Sequence[str]) -> None:
    """Refuses settings for a resumed run, which takes those of its folder. How much it shows may change."""
    others = [o for o in overrides if not o.startswith(("resume=", "quiet="))]
    if others:
        raise UsageError(f"resume: {others} cannot be changed in a run that has begun. Start a new run with them.")


def _refuse_nothing(overrides: Sequence[str]) -> None:
    """Refuses a command that asks for nothing, which would train for minutes on images that nobody named."""
    if not overrides and HydraConfig.get().job.config_name == CONFIG:
        raise UsageError(
            "nothing is asked for. Write `python -m search +experiment=mobilenet_mcu` to start a search, or "
            "resume=runs/NAME/TIME to go on with one. --help lists experiments and all keys; README.md says how to "
            "search with your own network and data."
        )


def _job_number() -> int | None:
    ours = HydraConfig.get()
    return ours.job.num if ours.mode == RunMode.MULTIRUN else None


def _command(overrides: Sequence[str]) -> str:
    """The command that starts this run with these overrides. Of a sweep it starts this run alone."""
    ours, processes = HydraConfig.get(), distributed.world_size()
    program = ["torchrun", f"--nproc-per-node={processes}"] if processes > 1 else ["python"]
    folders = [f"--config-dir={s.path}" for s in ours.runtime.config_sources if s.provider == "command-line"]
    return shlex.join([*program, "-m", "search", *folders, *overrides])


def _stopping(folder: Path) -> AbstractContextManager[None]:
    """Names the command that goes on, where a signal stops the run inside."""
    return stops_in_one_line(f"Go on with: {_command([f'resume={folder}'])}")


def _begin(settings: Settings) -> None:
    """A new run. One that is refused leaves nothing: its folder is made when all is accepted."""
    if settings.folder is not None:
        refuse_taken(Path(settings.folder))
    with process_for(settings.train) as device:
        experiment = prepare(settings, model_maker(settings.model))
        name, job = settings.experiment, _job_number()
        folder = Path(distributed.agreed(lambda: str(new_folder(name, settings.folder, job))))
        command = _command(HydraConfig.get().overrides.task)
        begin = partial(write_config, settings, folder, command, torch.get_num_threads())
        with _stopping(folder):
            execute(experiment, folder, device, begin)


def _go_on(folder: Path, quiet: bool) -> None:
    _refuse_others(HydraConfig.get().overrides.task)
    settings = read_config(folder)
    settings = replace(settings, quiet=quiet or settings.quiet)
    with _stopping(folder):
        run(settings, model_maker(settings.model), folder)


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name=CONFIG)
def main(config: DictConfig) -> None:
    logging.getLogger("spaces").setLevel(logging.WARNING)  # what is left alone, the monitor says
    with ending("search", HydraException, OmegaConfBaseException):
        if config.quiet:
            logging.getLogger("search").setLevel(logging.WARNING)
        _refuse_nothing(HydraConfig.get().overrides.task)
        if config.resume == "":
            raise UsageError("resume: names no folder. Write resume=runs/NAME/TIME, the folder of a run.")
        if config.resume is not None:
            _go_on(Path(config.resume), config.quiet)
        else:
            _begin(parse(config))


if __name__ == "__main__":
    main()
