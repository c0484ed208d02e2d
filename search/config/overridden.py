"""Which keys the overrides of a command line set."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser

from search.config.refusals import explained


def overridden(overrides: Sequence[str]) -> dict[str, str]:
    """Key, or group -> the last override that sets it.

    A mapping sets the keys in it: budgets={macs: 1} sets budgets.macs.

    Raises:
        UsageError: a text is no override.
    """
    with explained():
        parsed = OverridesParser.create().parse_overrides(list(overrides))
        return {key: each.input_line or "" for each in parsed for key in _keys(each.key_or_group, each.value())}


def _keys(key: str, value: Any) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _keys(f"{key}.{name}", inner)
    else:
        yield key
