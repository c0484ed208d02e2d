"""How settings refuse a value."""

from math import inf
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


def require_1_or_more_or_null(prefix: str, settings: Any, *fields: str) -> None:
    """Raises UsageError where one of these fields is neither null nor 1 or more."""
    for name in fields:
        value = getattr(settings, name)
        require(f"{prefix}.{name}", value, value is None or value >= 1, "1 or more, or null")
