"""Hydra and OmegaConf end here: schemas for every group, and from a composed configuration to plain settings."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Any, cast

from hydra import compose, initialize_config_module
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.core.utils import JobRuntime
from hydra.errors import HydraException
from hydra.version import VersionBase
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from cost_models import COST_MODELS, TARGET_COST_MODELS
from cost_models.target import Target
from search.atomic import write_text
from search.data import OPTIONS
from search.errors import PicojouleError, UsageError, file_errors
from search.files.documents import NOTHING, OBJECT, TEXT, WHOLE, either, having, unlike
from search.files.places import read_from, written_for
from search.files.urls import absolute
from search.settings.front import Front
from search.settings.require import require
from search.settings.run import LimitSettings, Settings, SpaceSettings, TrainSettings
from search.strategies import SETTINGS
from search.tasks import SETTINGS as TASK_SETTINGS

CONFIG_FILE = "config.yaml"
GROUPS = ("model", "target", "task", "strategy", "space", "train", "budgets", "lambdas", "front", "limits")
KINDS = {group: OBJECT for group in GROUPS} | {  # of what the code reads before the schemas check all
    "data": having({"name": TEXT}),
    "front": having({}, {"lambdas": OBJECT}),
    "experiment": TEXT,
}
MISFITS = (OmegaConfBaseException, ValueError, TypeError, OverflowError, RecursionError)  # of values in schemas
HYDRA_STATE = (GlobalHydra, ConfigStore, VersionBase, JobRuntime)  # of which a process has one each

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


class ConfigError(PicojouleError, ValueError):
    """The configuration that a run folder keeps is damaged, or of another version."""


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
    experiment: str = "experiment"
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


def register() -> None:
    """Makes the schemas known to Hydra. Each YAML file names its schema first in `defaults`."""
    store = ConfigStore.instance()
    store.store(name="config_schema", node=ConfigSchema)
    store.store(group="target", name="target_schema", node=Target)
    store.store(group="space", name="space_schema", node=SpaceSettings)
    store.store(group="train", name="train_schema", node=TrainSettings)
    for name, schema in OPTIONS.items():
        store.store(group="data", name=f"{name}_schema", node=schema)
    for name, schema in SETTINGS.items():
        store.store(group="strategy", name=f"{name}_schema", node=schema)
    for name, schema in TASK_SETTINGS.items():
        store.store(group="task", name=f"{name}_schema", node=schema)


def composed(overrides: Sequence[str]) -> Settings:
    """The settings that `python -m search *overrides` would get.

    Raises:
        UsageError: a key that nothing reads, a value of the wrong type, or a missing one; with Hydra's own words.
    """
    try:
        with _hydra_of_ours(), initialize_config_module("conf", version_base="1.3"):
            return parse(compose("config", overrides=list(overrides)))
    except (HydraException, OmegaConfBaseException) as error:
        causes = [str(each) for each in (error, error.__cause__) if each is not None]
        raise UsageError("\n".join(causes)) from error


@contextmanager
def _hydra_of_ours() -> Iterator[None]:
    """Inside it Hydra knows our schemas and no application. One that calls us has its own Hydra again afterwards."""
    Plugins.instance()  # what plugins store belongs to the application too
    before = {kind: Singleton._instances.pop(kind, None) for kind in HYDRA_STATE}
    try:
        ConfigStore.instance().repo = deepcopy(cast("ConfigStore", before[ConfigStore]).repo)
        register()
        yield
    finally:
        for kind, state in before.items():
            Singleton._instances.pop(kind, None)
            if state is not None:
                Singleton._instances[kind] = state


def parse(config: DictConfig) -> Settings:
    """Plain settings.

    Raises:
        OmegaConf's errors: a key that nothing reads, a value of the wrong type, or a missing one.
        UsageError: a value that cannot be.
    """
    values = cast("dict[str, Any]", OmegaConf.to_container(config, resolve=True, throw_on_missing=True))
    values.pop("resume", None)
    _refuse_nested("", {key: value for key, value in values.items() if key != "model"})
    for key in ("budgets", "lambdas"):
        values[key] = {name: value for name, value in values[key].items() if value is not None}
    front = values["front"]
    front["lambdas"] = {name: value for name, value in front["lambdas"].items() if value is not None}
    values["front"] = {name: value for name, value in front.items() if value is not None}
    if values["strategy"].get("storage"):
        values["strategy"]["storage"] = absolute(values["strategy"]["storage"])  # a run may be resumed from elsewhere
    plain = dict(values)
    values["front"] = _front(values["front"])
    schemas = {
        "data": _named("data", values["data"], OPTIONS),
        "target": Target,
        "task": _named("task", values["task"], TASK_SETTINGS),
        "strategy": _named("strategy", values["strategy"], SETTINGS),
        "space": SpaceSettings,
        "train": TrainSettings,
        "limits": LimitSettings,
    }
    for key, schema in schemas.items():
        values[key] = _filled(schema, values[key])
    return Settings(**values, plain_values=plain)


def _front(values: dict[str, Any]) -> Front:
    budgets = {name: value for name, value in values.items() if name not in ("lambdas", "points")}
    return Front(budgets, values["lambdas"], values.get("points"))


def _named(group: str, values: Mapping[str, Any], schemas: Mapping[str, type]) -> type:
    if values.get("name") not in schemas:
        raise UsageError(f"{group}.name '{values.get('name')}' is not one of {sorted(schemas)}.")
    return schemas[values["name"]]


def _refuse_nested(prefix: str, values: Mapping[str, Any]) -> None:
    """Raises UsageError for a list with lists in it. The types of schemas do not see them."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            _refuse_nested(f"{prefix}{key}.", value)
        plain = not (isinstance(value, list) and any(isinstance(each, list | dict) for each in value))
        require(f"{prefix}{key}", value, plain, "a list of numbers or of texts")


def _filled(schema: type, values: dict[str, Any]) -> Any:
    """An instance of the schema from a plain mapping. Unknown keys are refused here once more."""
    merged = OmegaConf.merge(OmegaConf.structured(schema), values)
    return OmegaConf.to_object(merged)


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
        return parse(cast("DictConfig", OmegaConf.merge(OmegaConf.structured(ConfigSchema), values)))
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
        raise UsageError(f"resume '{folder}': no config.yaml there, so it is no run folder. Name runs/EXPERIMENT/TIME.")
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
    return read_from(folder, found)


def _damaged(path: Path, why: str) -> ConfigError:
    return ConfigError(f"{path} is damaged: {' '.join(why.split())}. Restore it, or start a new run.")
