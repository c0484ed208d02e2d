"""From what is composed of YAML files and overrides to plain settings."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from search.config.refusals import explained
from search.config.register import register
from search.config.schemas import CONF, CONFIG, OLD_NAME, ONE_SCHEMA, SCHEMAS, ConfigSchema, schema_of
from search.files.urls import absolute
from search.settings.front import Front
from search.settings.run import Settings

NAME = "name"
NO_NAME = "experiment"  # of a run that is given none: runs/experiment/TIME
STORAGE = "strategy.storage"  # some strategies have it


def composed(overrides: Sequence[str]) -> Settings:
    """The settings that `python -m search *overrides` would get.

    Raises:
        UsageError: a key that nothing reads, a value of the wrong type, or a missing one.
    """
    register()
    with explained(), initialize_config_dir(str(CONF), version_base="1.3"):
        return parse(compose(CONFIG, overrides=list(overrides)))


def parse(config: DictConfig) -> Settings:
    """Plain settings.

    Raises:
        UsageError: a key that nothing reads, a value of the wrong type, or a missing one.
    """
    with explained():
        merged = _checked(_plain(OmegaConf.to_container(config, resolve=True, throw_on_missing=True)))
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
    values[NAME] = values.get(NAME) or old or NO_NAME


def _checked(values: Mapping[str, Any]) -> DictConfig:
    """All values in their schemas. What a schema does not have raises an error of OmegaConf with the whole key."""
    whole = OmegaConf.structured(ConfigSchema)
    for group in (*ONE_SCHEMA, *SCHEMAS):
        whole[group] = OmegaConf.structured(schema_of(group, values.get(group, {})))
    return cast("DictConfig", OmegaConf.merge(whole, values))


def _plain(values: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", values)


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _front(values: Mapping[str, Any]) -> Front:
    budgets = {name: value for name, value in values.items() if name not in ("lambdas", "points")}
    return Front(budgets, values["lambdas"], values.get("points"))
