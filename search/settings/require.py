"""How settings refuse a value."""

from typing import Any

from search.errors import UsageError


def require(key: str, value: Any, holds: bool, allowed: str) -> None:
    """Raises UsageError, with the key, its value and what is allowed, where a condition does not hold."""
    if not holds:
        raise UsageError(f"{key} is {value}; allowed: {allowed}.")
