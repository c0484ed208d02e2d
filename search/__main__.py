"""`python -m search +experiment=NAME [overrides]`, `python -m search resume=runs/NAME/TIME`."""

import logging
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from search import distributed
from search.config import model_maker, parse, read_config, register, write_config
from search.files.run_folders import give_back, new_folder
from search.run import Run
from search.settings.run import Settings
from search.training.runtime import device_of

register()


def _refuse_others(overrides: Sequence[str]) -> None:
    """Settings of a resumed run are those of its folder: others would be ignored."""
    others = [o for o in overrides if not o.startswith("resume=")]
    if others:
        raise ValueError(f"resume: {others} cannot be changed in a run that has begun. Start a new run with them.")


def _job_number() -> int | None:
    ours = HydraConfig.get()
    return ours.job.num if ours.mode == RunMode.MULTIRUN else None


def _command() -> str:
    """What starts this run: of a sweep, this run of it alone."""
    ours, processes = HydraConfig.get(), distributed.world_size()
    program = ["torchrun", f"--nproc-per-node={processes}"] if processes > 1 else ["python"]
    folders = [f"--config-dir={s.path}" for s in ours.runtime.config_sources if s.provider == "command-line"]
    return shlex.join([*program, "-m", "search", *folders, *ours.overrides.task])


def _accepted(settings: Settings, folder: Path) -> Run:
    """A run that is refused leaves nothing."""
    try:
        return Run(settings, model_maker(settings.model), folder)
    except BaseException:
        if settings.folder is None and distributed.rank() == 0:
            give_back(folder)
        raise


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="config")
def main(config: DictConfig) -> None:
    logging.getLogger("spaces").setLevel(logging.WARNING)  # what is left alone, the monitor says
    try:
        if config.resume:
            _refuse_others(HydraConfig.get().overrides.task)
            folder = Path(config.resume)
            settings = read_config(folder)
        else:
            settings = parse(config)
            distributed.start(device_of(settings.train.device))
            folder = Path(
                distributed.agreed(lambda: str(new_folder(settings.experiment, settings.folder, _job_number())))
            )
        run = _accepted(settings, folder)
        if not config.resume and distributed.rank() == 0:
            write_config(settings, folder, _command())  # not before Run has accepted it: a refused run leaves nothing
        run()
    except (ValueError, OSError, RuntimeError, NotImplementedError, HydraException, OmegaConfBaseException) as error:
        if os.environ.get("HYDRA_FULL_ERROR"):
            raise
        sys.exit(f"picojoule: {error}")


if __name__ == "__main__":
    main()
