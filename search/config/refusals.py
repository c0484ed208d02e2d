"""What Hydra and OmegaConf refuse, in our words: the key, the file that has it, and the names that there are."""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from difflib import SequenceMatcher
from pathlib import Path
from traceback import extract_tb
from typing import Any, cast

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    ConfigTypeError,
    MissingMandatoryValue,
    OmegaConfBaseException,
    ValidationError,
)
from yaml import YAMLError

from search.config.hydra_messages import EXPERIMENT, in_our_words
from search.config.schemas import OLD_NAME, SCHEMAS
from search.errors import UsageError

PLACE = re.compile(r"In '(.+?)': ")  # how Hydra says in which file it found something
DEFAULTS = ("config", "hydra/config")  # files that are not the user's: what they lack, the command line asked for
LIBRARIES = {"hydra", "omegaconf"}
NOT_LISTED = ("hydra", OLD_NAME)
MODEL = "model"  # the group whose keys are a class's arguments


@contextmanager
def explained() -> Iterator[None]:
    """Inside it an error of Hydra, of OmegaConf or of a YAML file becomes a UsageError."""
    try:
        yield
    except YAMLError as error:
        raise UsageError(f"a configuration file is no YAML: {' '.join(str(error).split())}.") from error
    except (HydraException, OmegaConfBaseException) as error:
        raise UsageError(_words(error)) from error
    except (ValueError, TypeError, AttributeError, AssertionError) as error:
        if not _is_of_libraries(error):
            raise
        raise UsageError(
            in_our_words(str(error))
            or f"the configuration cannot be read ({error}). A group is chosen by the name of one of its options, as "
            "train=default; a list is written whole, as costs=[macs]."
        ) from error


def _is_of_libraries(error: Exception) -> bool:
    """Whether Hydra or OmegaConf raised it: some values they refuse with errors that are not theirs."""
    frames = extract_tb(error.__traceback__)
    return bool(frames) and bool(LIBRARIES & set(Path(frames[-1].filename).parts))


def near(name: str, names: Iterable[str]) -> list[str]:
    """The names, and those that are written most like the given one stand first. Of a.b.c the last part counts."""

    def likeness(other: str) -> float:
        return SequenceMatcher(None, name, other.rpartition(".")[2]).ratio()

    return sorted(names, key=likeness, reverse=True)


def _words(error: Exception) -> str:
    cause, found = _of_a_key(error), PLACE.match(str(error))
    file = f"{found[1]}.yaml" if found and found[1] not in DEFAULTS else ""
    if isinstance(error, OverrideParseException):
        return _no_override(error)
    if isinstance(error, MissingConfigException) and error.options is not None:
        return _no_option(error, file)
    if said := in_our_words(str(error)):
        return said
    if cause is not None:
        return _of_key(cause, file)
    return _first_line(str(error) or str(error.__cause__))


def _first_line(message: str) -> str:
    """Of a message of a library. What it says of its own objects stands below."""
    return message.strip().partition("\n")[0]


def _of_a_key(error: BaseException | None) -> OmegaConfBaseException | None:
    """The error about a single key that another one was raised from."""
    while error is not None:
        if isinstance(error, OmegaConfBaseException) and error.full_key:
            return error
        error = error.__cause__ or error.__context__
    return None


def _of_key(cause: OmegaConfBaseException, file: str) -> str:
    key, before = str(cause.full_key), f"{file}: " if file else ""
    if key == OLD_NAME and file:
        return f"{file}: its first line has to be `# @package _global_`."
    if isinstance(cause, (ConfigAttributeError, ConfigKeyError)) and isinstance(cause.parent_node, DictConfig):
        return _no_key(key, cause.parent_node, file)
    if isinstance(cause, MissingMandatoryValue):
        return f"{before}{key}: has no value. Set it, as {key}=VALUE on the command line."
    if "does not support deletion" in str(cause):
        return f"~{key}: a key cannot be taken away. Leave ~{key} out."
    if names := _keys_below(cause):
        return f"{before}{key}: holds keys and is no value itself. Set one of them, as {key}.{names[0]}=VALUE."
    return f"{before}{key}: {_first_line(str(cause)).rstrip('.')}."


def _keys_below(cause: OmegaConfBaseException) -> list[str]:
    """The keys of the mapping that was to become a value; none where something else was to."""
    name, looked_in = str(cause.full_key).rpartition(".")[2], cause.parent_node
    if not isinstance(cause, (ValidationError, ConfigTypeError)) or not isinstance(looked_in, DictConfig):
        return []
    found = looked_in._get_node(name) if name in looked_in else looked_in if cause.key is None else None
    return [str(key) for key in found] if isinstance(found, DictConfig) else []


def _no_key(key: str, looked_in: DictConfig, file: str) -> str:
    parent, _, name = key.rpartition(".")
    values = cast("dict[str, Any]", OmegaConf.to_container(looked_in))
    values = {each: value for each, value in values.items() if each not in NOT_LISTED}
    names = [f"{parent}.{each}" if parent else each for each in values]
    names += [] if parent else _deeper(name, values)
    schemas = SCHEMAS.get(parent, {})
    others = [option for option, schema in schemas.items() if name in {field.name for field in fields(schema)}]
    where = f"with {parent}={values['name']} there" if schemas else "there"
    said = [f"{file} sets {key}, but {where} is no such key." if file else f"{key}: {where} is no such key."]
    said.append(f"There are {', '.join(near(name, names))}.")
    if others:
        said.append(f"{key} is a key of {parent}={', '.join(others)}.")
    if file:
        said.append(f"Take {key} out of {file}{', or choose such an option' if others else ''}.")
    if parent == MODEL:
        said.append(f"+{key}=VALUE gives the network an argument that is not among these.")
    return " ".join(said)


def _deeper(name: str, values: Mapping[str, Any], parent: str = "") -> Iterator[str]:
    """The whole keys, of all below these, whose last part is the name."""
    for key, value in values.items():
        if parent and key == name:
            yield f"{parent}{key}"
        if isinstance(value, Mapping):
            yield from _deeper(name, value, f"{parent}{key}.")


def _no_option(error: MissingConfigException, file: str) -> str:
    group, _, name = str(error.missing_cfg_file).removesuffix(".yaml").rpartition("/")
    if file and group.startswith(f"{EXPERIMENT}/"):  # where Hydra looks for a group that is written without a slash
        own_group = group.removeprefix(f"{EXPERIMENT}/")
        return f"{file}: `{own_group}: {name}` in its `defaults` has to be `- override /{own_group}: {name}`."
    before, options = f"{file}: " if file else "", near(name, error.options or ())
    said = f"{before}{group}={name}: there is no such option of {group}. There are {', '.join(options)}."
    own = f" Files of your own are found with --config-dir=FOLDER, this one as FOLDER/{group}/{name}.yaml."
    renamed = f" A run is given a name with name={name}." if group == EXPERIMENT else ""
    return said + ("" if group.startswith("hydra/") else own) + renamed


def _no_override(error: OverrideParseException) -> str:
    key, equals, value = error.override.partition("=")
    said = f"{error.override!r} cannot be read: {error.message.splitlines()[0]}."
    if not equals:
        return f"{said} Write KEY=VALUE."
    return f"""{said} Where a value has other signs than letters and digits, quote it: '{key}="{value}"'."""
