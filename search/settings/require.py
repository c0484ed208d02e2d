"""How settings refuse a value."""

from typing import Any


def require(key: str, value: Any, holds: bool, allowed: str) -> None:
    """Raises ValueError, with the key, its value and what is allowed, where a condition does not hold."""
    if not holds:
        raise ValueError(f"{key} is {value}; allowed: {allowed}.")
