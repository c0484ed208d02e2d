"""The seed network that settings describe: classes that are named by `_target_`, and what they are given.

Settings may come from others: a run folder's config.yaml is read when the run goes on. So nothing is called but what
makes an nn.Module, and nothing is imported while any name stands there that makes none.
"""

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from math import prod
from typing import Any, get_type_hints

from torch import nn

from search.data.data import Data
from search.errors import PicojouleError, UsageError
from search.named import NAME, imported

TARGET, POSITIONAL = "_target_", "_args_"
TORCH, LAYERS = "torch", "torch.nn."  # of torch only layers are networks

Maker = Callable[..., nn.Module]


def model_maker(model: Mapping[str, Any]) -> Callable[[Data], nn.Module]:
    """A function that makes the model of the data.

    It fills in `in_channels`, `classes` (also the number of tags, or of numbers) and `features` (elements of an
    example) where the model takes them.

    Args:
        model: `_target_`, the name of a class that derives from nn.Module, or of a function that is annotated to return
            one; `_args_`, a list of positional arguments; all other keys are arguments by name. An argument may be a
            value, such a description, or a list or mapping of these.

    Raises:
        UsageError: there is no `_target_`, or something else than a network is to be made. When it is called: a name
            cannot be imported, is no network, or does not take the arguments.
    """
    if TARGET not in model:
        raise UsageError("model: no '_target_'; name the class, e.g. model._target_=my_package.MyNet.")
    for place, name in _targets("model", model):
        _refuse_by_name(place, name)

    def make(data: Data) -> nn.Module:
        makers = {name: _maker(place, name) for place, name in _targets("model", model)}
        known = {
            "in_channels": data.input_shape[0],
            "classes": len(data.classes),
            "features": prod(data.input_shape),
        }
        accepted = inspect.signature(makers[model[TARGET]]).parameters
        filled = {key: value for key, value in known.items() if key in accepted} | dict(model)
        made: nn.Module = _made("model", filled, makers)
        return made

    return make


def _targets(place: str, described: Any) -> Iterator[tuple[str, Any]]:
    """(where it stands, name) of all that is to be made, for example ("model._args_.0._target_", "torch.nn.ReLU")."""
    if isinstance(described, Mapping):
        if TARGET in described:
            yield f"{place}.{TARGET}", described[TARGET]
        for key, value in described.items():
            yield from _targets(f"{place}.{key}", value)
    elif isinstance(described, list):
        for number, value in enumerate(described):
            yield from _targets(f"{place}.{number}", value)


def _refuse_by_name(place: str, name: Any) -> None:
    """Raises UsageError for what cannot be a network, without importing it."""
    root = name.partition(".")[0] if isinstance(name, str) else ""
    standard = root in sys.stdlib_module_names or (root == TORCH and not name.startswith(LAYERS))
    if standard or not isinstance(name, str):
        raise UsageError(
            f"{place} '{name}': is no network, and nothing else is made. Allowed are classes that derive from "
            "torch.nn.Module, and functions that are annotated to return one."
        )
    if not NAME.fullmatch(name):
        raise UsageError(f"{place} '{name}': cannot be imported. Name a class with its module, as in my_package.MyNet.")


def _maker(place: str, name: str) -> Maker:
    """The class or function of that name. Raises UsageError where there is none, or where it makes no network."""
    found = imported(place, name)
    returned = found if inspect.isclass(found) else _returned(found)
    if not (inspect.isclass(returned) and issubclass(returned, nn.Module)):
        raise UsageError(
            f"{place} '{name}': is no network, so it is not called. Allowed are classes that derive from "
            "torch.nn.Module, and functions that are annotated to return one: def make(...) -> nn.Module."
        )
    made: Maker = found
    return made


def _returned(found: Any) -> Any:
    """What a function is annotated to return; None where that cannot be told."""
    try:
        return get_type_hints(found).get("return") if inspect.isfunction(found) else None
    except Exception:  # annotations are code of the user, and need not hold
        return None


def _made(place: str, described: Any, makers: Mapping[str, Maker]) -> Any:
    """What is described, with all networks in it made. Raises UsageError where one does not take its arguments."""
    if isinstance(described, list):
        return [_made(f"{place}.{number}", value, makers) for number, value in enumerate(described)]
    if not isinstance(described, Mapping):
        return described
    given = {key: _made(f"{place}.{key}", value, makers) for key, value in described.items() if key != TARGET}
    if TARGET not in described:
        return given
    name, positional = described[TARGET], given.pop(POSITIONAL, [])
    accepted = inspect.signature(makers[name]).parameters
    unknown = {key for key in given if key.startswith("_") or key not in accepted}
    takes_all = any(p.kind is p.VAR_KEYWORD for p in accepted.values())
    if {key for key in unknown if key.startswith("_") or not takes_all}:
        raise UsageError(f"{place}: {sorted(unknown)} not taken by {name}; it takes {sorted(accepted)}.")
    try:
        return makers[name](*positional, **given)
    except PicojouleError:
        raise
    except Exception as error:
        raise UsageError(f"{place}: {name} cannot be made ({error}).").showing_cause() from error
