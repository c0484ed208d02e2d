"""`python -m search +experiment=NAME [overrides]`, `python -m search resume=runs/NAME/TIME`."""

import logging
import shlex
from collections.abc import Sequence
from pathlib import Path

import hydra
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from search import distributed
from search.config import model_maker, parse, read_config, register, write_config
from search.errors import UsageError
from search.experiment import prepare
from search.files.run_folders import new_folder, refuse_taken
from search.monitor.failures import ending
from search.run import execute, run
from search.settings.run import Settings
from search.training.process import process_for

register()


def _refuse_others(overrides: Sequence[str]) -> None:
    """Refuses settings for a resumed run, which takes those of its folder."""
    others = [o for o in overrides if not o.startswith("resume=")]
    if others:
        raise UsageError(f"resume: {others} cannot be changed in a run that has begun. Start a new run with them.")


def _job_number() -> int | None:
    ours = HydraConfig.get()
    return ours.job.num if ours.mode == RunMode.MULTIRUN else None


def _command() -> str:
    """The command that starts this run. Of a sweep it starts this run alone."""
    ours, processes = HydraConfig.get(), distributed.world_size()
    program = ["torchrun", f"--nproc-per-node={processes}"] if processes > 1 else ["python"]
    folders = [f"--config-dir={s.path}" for s in ours.runtime.config_sources if s.provider == "command-line"]
    return shlex.join([*program, "-m", "search", *folders, *ours.overrides.task])


def _begin(settings: Settings) -> None:
    """A new run. One that is refused leaves nothing: its folder is made when all is accepted."""
    if settings.folder is not None:
        refuse_taken(Path(settings.folder))
    with process_for(settings.train) as device:
        experiment = prepare(settings, model_maker(settings.model))
        name, job = settings.experiment, _job_number()
        folder = Path(distributed.agreed(lambda: str(new_folder(name, settings.folder, job))))
        distributed.agreed(lambda: write_config(settings, folder, _command(), torch.get_num_threads()))
        execute(experiment, folder, device)


def _go_on(folder: Path) -> None:
    _refuse_others(HydraConfig.get().overrides.task)
    settings = read_config(folder)
    run(settings, model_maker(settings.model), folder)


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="config")
def main(config: DictConfig) -> None:
    logging.getLogger("spaces").setLevel(logging.WARNING)  # what is left alone, the monitor says
    with ending("search", HydraException, OmegaConfBaseException):
        if config.resume:
            _go_on(Path(config.resume))
        else:
            _begin(parse(config))


if __name__ == "__main__":
    main()
