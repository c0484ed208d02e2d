"""From what is composed of YAML files and overrides to plain settings."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, cast

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.core.utils import JobRuntime
from hydra.version import VersionBase
from omegaconf import DictConfig, OmegaConf

from search.config.refusals import explained
from search.config.register import register
from search.config.schemas import CONF, CONFIG, OLD_NAME, ONE_SCHEMA, SCHEMAS, ConfigSchema, schema_of
from search.files.urls import absolute
from search.settings.front import Front
from search.settings.require import require
from search.settings.run import Settings

NAME = "name"
NO_NAME = "experiment"  # of a run that is given none: runs/experiment/TIME
STORAGE = "strategy.storage"  # some strategies have it
HYDRA_STATE = (GlobalHydra, ConfigStore, VersionBase, JobRuntime)  # of which a process has one each


def composed(overrides: Sequence[str]) -> Settings:
    """The settings that `python -m search *overrides` would get.

    Raises:
        UsageError: a key that nothing reads, a value of the wrong type, or a missing one.
    """
    with _hydra_of_ours(), explained(), initialize_config_dir(str(CONF), version_base="1.3"):
        return parse(compose(CONFIG, overrides=list(overrides)))


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
        UsageError: a key that nothing reads, a value of the wrong type, or a missing one.
    """
    with explained():
        given = _plain(OmegaConf.to_container(config, resolve=True, throw_on_missing=True))
        _refuse_nested("", {key: value for key, value in given.items() if key != "model"})
        merged = _checked(given)
        if storage := OmegaConf.select(merged, STORAGE):
            OmegaConf.update(merged, STORAGE, absolute(storage))  # a run may be resumed from elsewhere
        values, groups = _plain(OmegaConf.to_container(merged)), (*ONE_SCHEMA, *SCHEMAS, "limits")
        parsed = {group: OmegaConf.to_object(merged[group]) for group in groups}
    take_old_name(values)
    values.pop("resume", None)
    for key in ("budgets", "lambdas", "front"):
        values[key] = _given(values[key])
    values["front"]["lambdas"] = _given(values["front"]["lambdas"])
    return Settings(**{**values, **parsed, "front": _front(values["front"])}, plain_values=values)


def take_old_name(values: dict[str, Any]) -> None:
    """Sets the name of the run, which files of earlier versions have under another key."""
    old = values.pop(OLD_NAME, None)
    if values.get(NAME) is None:
        values[NAME] = old or NO_NAME


def _checked(values: Mapping[str, Any]) -> DictConfig:
    """All values in their schemas. What a schema does not have raises an error of OmegaConf with the whole key."""
    whole = OmegaConf.structured(ConfigSchema)
    for group in (*ONE_SCHEMA, *SCHEMAS):
        whole[group] = OmegaConf.structured(schema_of(group, values.get(group, {})))
    return cast("DictConfig", OmegaConf.merge(whole, values))


def _refuse_nested(prefix: str, values: Mapping[str, Any]) -> None:
    """Raises UsageError for a list with lists in it. The types of schemas do not see them."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            _refuse_nested(f"{prefix}{key}.", value)
        plain = not (isinstance(value, list) and any(isinstance(each, list | dict) for each in value))
        require(f"{prefix}{key}", value, plain, "a list of numbers or of texts")


def _plain(values: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", values)


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _front(values: Mapping[str, Any]) -> Front:
    budgets = {name: value for name, value in values.items() if name not in ("lambdas", "points")}
    return Front(budgets, values["lambdas"], values.get("points"))
