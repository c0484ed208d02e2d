"""How settings refuse a value."""

from collections.abc import Mapping
from math import inf
from numbers import Real
from typing import Any

from search.errors import UsageError


def require(key: str, value: Any, holds: bool, allowed: str) -> None:
    """Raises UsageError, with the key, its value and what is allowed, where a condition does not hold."""
    if not holds:
        raise UsageError(f"{key} is {value}; allowed: {allowed}.")


def require_over_0(prefix: str, settings: Any, *fields: str) -> None:
    """Raises UsageError where one of these fields is no finite number over 0.

    Args:
        prefix: what stands before a field's name in the key, for example "train.warmup".
    """
    for name in fields:
        value = getattr(settings, name)
        require(f"{prefix}.{name}", value, 0 < value < inf, "a finite number over 0")


def require_0_or_more(prefix: str, settings: Any, *fields: str) -> None:
    """Raises UsageError where one of these fields is negative, or no finite number."""
    for name in fields:
        value = getattr(settings, name)
        require(f"{prefix}.{name}", value, 0 <= value < inf, "a finite number, 0 or more")


def require_0_to_1(prefix: str, settings: Any, *fields: str) -> None:
    """Raises UsageError where one of these fields is no number from 0 to 1."""
    for name in fields:
        value = getattr(settings, name)
        require(f"{prefix}.{name}", value, 0 <= value <= 1, "0 to 1")


def require_1_or_more_or_null(prefix: str, settings: Any, *fields: str) -> None:
    """Raises UsageError where one of these fields is neither null nor 1 or more."""
    for name in fields:
        value = getattr(settings, name)
        require(f"{prefix}.{name}", value, value is None or value >= 1, "1 or more, or null")


def plain_numbers(prefix: str, numbers: Mapping[str, Any]) -> dict[str, float]:
    """The same numbers as floats of Python, whether they came as integers, floats or scalars of NumPy.

    Raises:
        UsageError: one of them is no number; the message has its key, for example "budgets.flash_bytes".
    """
    return {name: _plain(f"{prefix}.{name}", value) for name, value in numbers.items()}


def _plain(key: str, value: Any) -> float:
    require(key, repr(value), isinstance(value, Real) and not isinstance(value, bool), "a number")
    try:
        return float(value)
    except OverflowError:
        return inf  # as it would be read from a file; whoever wants a finite number refuses it
