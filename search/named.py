"""Classes and functions that settings name, which may come from others: what is no such thing is not called."""

import inspect
import re
import sys
from importlib import import_module
from typing import Any, TypeVar

from search.errors import UsageError

NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
T = TypeVar("T")


def class_of(place: str, name: str, base: type[T], allowed: str) -> type[T]:
    """The class of that name, which derives from another.

    Args:
        allowed: what is, as an error words it.

    Raises:
        UsageError: it cannot be imported, or is none.
    """
    if not isinstance(name, str) or not NAME.fullmatch(name) or name.partition(".")[0] in sys.stdlib_module_names:
        raise UsageError(f"{place} '{name}': allowed is {allowed}, by its name with its module.")
    found = imported(place, name)
    if not (inspect.isclass(found) and issubclass(found, base)):
        raise UsageError(f"{place} '{name}': allowed is {allowed}.")
    return found


def imported(place: str, name: str) -> Any:
    """What a name stands for. Raises UsageError where it cannot be imported."""
    try:
        return _found(name)
    except LookupError as error:
        raise UsageError(
            f"{place} '{name}': cannot be imported ({error.args[0]}). Start the command in the folder that holds its "
            "module, or put that folder on PYTHONPATH."
        ) from error
    except Exception as error:
        raise UsageError(f"{place} '{name}': cannot be imported ({error}).").showing_cause() from error


def _found(name: str) -> Any:
    """What a name stands for. Raises LookupError where there is no such thing, and whatever importing it raises."""
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        module = ".".join(parts[:length])
        try:
            found: Any = import_module(module)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module}.".startswith(f"{error.name}."):
                raise  # a module that is there looks for one that is not
            continue
        for part in parts[length:]:
            if not hasattr(found, part):
                raise LookupError(f"there is no '{part}' in '{module}'")
            found = getattr(found, part)
        return found
    raise LookupError(f"there is no module '{parts[0]}'")
