"""Settings of several runs side by side: their flat keys, and the keys in which they differ."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

ABSENT = "-"


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"train": {"lr": 1}} -> {"train.lr": 1}."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found


def written(value: Any) -> str:
    """A value as YAML writes it: null, true, [2, 4]."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def differing(several: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Flat key -> its value in each of the settings, or ABSENT. Only keys in which the settings differ are there."""
    flats = [flat(settings) for settings in several]
    keys = dict.fromkeys(key for each in flats for key in each)
    rows = {key: [each.get(key, ABSENT) for each in flats] for key in keys}
    return {key: values for key, values in rows.items() if any(value != values[0] for value in values)}
