"""`python -m search +experiment=NAME [overrides]`, `python -m search resume=runs/NAME/TIME`."""

import logging
import sys
from pathlib import Path

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from search import distributed
from search.config import model_maker, parse, read_config, register, write_config
from search.problem import device_of
from search.run import Run, new_folder

register()


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="config")
def main(config: DictConfig) -> None:
    logging.getLogger("spaces").setLevel(logging.WARNING)  # what is left alone, the monitor says
    try:
        if config.resume:
            folder = Path(config.resume)
            settings = read_config(folder)
        else:
            settings = parse(config)
            distributed.start(device_of(settings.train.device))
            folder = Path(distributed.agreed(str(new_folder(settings))))
            if distributed.rank() == 0:
                write_config(settings, folder)
        Run(settings, model_maker(settings.model), folder)()
    except (ValueError, OSError, RuntimeError, NotImplementedError, HydraException, OmegaConfBaseException) as error:
        if "--debug" in sys.argv:
            raise
        sys.exit(f"picojoule: {error}")


if __name__ == "__main__":
    main()
