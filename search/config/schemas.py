"""What may stand in the configuration: a schema for its top, and one for every option of a group."""

from collections.abc import Mapping
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Any

from omegaconf import MISSING

from cost_models import COST_MODELS, TARGET_COST_MODELS
from cost_models.target import Target
from search.data import OPTIONS
from search.errors import UsageError
from search.settings.run import LimitSettings, SpaceSettings, TrainSettings
from search.strategies import SETTINGS
from search.tasks import SETTINGS as TASK_SETTINGS

CONF = Path(__file__).resolve().parents[2] / "conf"  # beside the package; an import may find another folder `conf`
CONFIG = "config"  # conf/config.yaml
OLD_NAME = "experiment"  # the key that `name` had in earlier versions; it is also the name of a group

# A group whose options all have one schema, and a group in which each has its own.
ONE_SCHEMA: dict[str, type] = {"target": Target, "space": SpaceSettings, "train": TrainSettings}
SCHEMAS: dict[str, Mapping[str, type]] = {"data": OPTIONS, "strategy": SETTINGS, "task": TASK_SETTINGS}

# A key for every cost that there is: budgets.flash_bytes=24576 works, budgets.flash_kb=24 is refused.
CostSchema = make_dataclass(
    "CostSchema", [(name, float | None, field(default=None)) for name in (*COST_MODELS, *TARGET_COST_MODELS)]
)


# front.flash_bytes=[24576,12288], front.lambdas.macs=[0.1,0.3], front.points=8
ListSchema = make_dataclass(
    "ListSchema", [(name, list[float] | None, field(default=None)) for name in (*COST_MODELS, *TARGET_COST_MODELS)]
)
FrontSchema = make_dataclass(
    "FrontSchema",
    [("lambdas", ListSchema, field(default_factory=ListSchema)), ("points", int | None, field(default=None))],
    bases=(ListSchema,),
)


@dataclass
class ConfigSchema:
    """The keys of a run's configuration."""

    data: Any = MISSING
    model: Any = MISSING
    target: Any = MISSING
    task: Any = MISSING
    strategy: Any = MISSING
    space: Any = MISSING
    train: Any = MISSING
    name: str | None = None
    seed: int = 0
    folder: str | None = None
    resume: str | None = None
    budgets: CostSchema = field(default_factory=CostSchema)  # type: ignore[valid-type]  # made as the costs say
    lambdas: CostSchema = field(default_factory=CostSchema)  # type: ignore[valid-type]
    front: FrontSchema = field(default_factory=FrontSchema)  # type: ignore[valid-type]
    limits: LimitSettings = field(default_factory=LimitSettings)
    costs: list[str] = field(default_factory=lambda: ["flash_bytes", "peak_ram_bytes", "macs"])
    tensorboard: bool = True
    quiet: bool = False
    experiment: str | None = None  # OLD_NAME


def schema_of(group: str, values: Any) -> type:
    """The schema of the option that a group's values are of.

    Raises:
        UsageError: they name no option that there is.
    """
    if not isinstance(values, Mapping):
        raise UsageError(
            f"{group}: '{values}' is no mapping of keys to values. An option of the group is chosen with "
            f"{group}={values} on the command line, or with `override /{group}: {values}` in `defaults` of a YAML file."
        )
    if group in ONE_SCHEMA:
        return ONE_SCHEMA[group]
    schemas, name = SCHEMAS[group], str(values.get("name"))
    if name not in schemas:
        raise UsageError(f"{group}.name: there is no '{name}'. Choose one of {', '.join(schemas)}.")
    return schemas[name]
