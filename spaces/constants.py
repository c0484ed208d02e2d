"""Constants of passes that caches hold: whoever needs them longer than a cache does keeps them here."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

_keepers: list[list[object]] = []


def constant(made: T) -> T:
    """What a cache gave to a pass."""
    for keeper in _keepers:
        keeper.append(made)
    return made


@contextmanager
def kept() -> Iterator[list[object]]:
    """Inside it constants that passes use are listed: a graph of a device reads their memory, and does not hold it."""
    keeper: list[object] = []
    _keepers.append(keeper)
    try:
        yield keeper
    finally:
        _keepers.remove(keeper)
