"""A run's epochs as columns: the curves of all phases, and the bits and gates of the search, thinned out."""

import base64
from collections.abc import Mapping, Sequence
from itertools import groupby
from math import ceil, isfinite
from statistics import mean
from typing import Any

from search.monitor.events import EpochEnd
from search.strategies.sensitivity.table import StoredDecision

MOST_CURVE_EPOCHS, MOST_SEARCH_EPOCHS = 600, 96
DECIDED_PHASES = ("warmup", "finetune")  # in which nothing is decided
DIGITS = 5


def curves(ends: Sequence[EpochEnd]) -> dict[str, Any]:
    """Scalars by name, with a value or None for each epoch, and where the phases begin and end."""
    names = sorted({name for end in ends for name in end.scalars})
    phases = []
    for phase, members in groupby(ends, key=lambda end: end.phase):
        epochs = [end.global_epoch for end in members]
        phases.append({"name": phase, "first": epochs[0], "last": epochs[-1]})
    kept = thinned(ends, MOST_CURVE_EPOCHS)
    scalars = {name: [_plain(end.scalars.get(name)) for end in kept] for name in names}
    return {"epochs": [end.global_epoch for end in kept], "phases": phases, "scalars": scalars}


def decisions(ends: Sequence[EpochEnd]) -> dict[str, Any]:
    """Channels by width of every layer and shadow values of every gate, in the epochs in which decisions move."""
    moving = [end for end in ends if not end.phase.startswith(DECIDED_PHASES)]
    kept = thinned(moving, MOST_SEARCH_EPOCHS)
    if not kept:
        return {"epochs": [], "bits": {}, "gates": {}}
    bits = {}
    for layer in kept[0].bits:
        widths = sorted({width for end in kept for width in end.bits.get(layer, {})})
        bits[layer] = {
            "widths": widths,
            "counts": [[end.bits.get(layer, {}).get(w, 0) for w in widths] for end in kept],
        }
    gates = {
        name: {"channels": len(values), "bytes": _bytes([end.gates[name] for end in kept])}
        for name, values in kept[0].gates.items()
        if all(len(end.gates.get(name, ())) == len(values) for end in kept)
    }
    return {"epochs": [end.global_epoch for end in kept], "bits": bits, "gates": gates}


def sensitivities(decisions: Mapping[str, StoredDecision]) -> list[dict[str, Any]]:
    """How far the loss rises with each option of each decision: the mean, the least and the most over its groups."""
    found = []
    for name, decision in decisions.items():
        by_option = zip(decision["options"], zip(*decision["loss_increase"], strict=True), strict=True)
        rows = [
            {"option": option, "mean": _plain(mean(rises)), "least": _plain(min(rises)), "most": _plain(max(rises))}
            for option, rises in by_option
        ]
        found.append({"name": name, "groups": len(decision["loss_increase"]), "options": rows})
    return found


def thinned(ends: Sequence[EpochEnd], most: int) -> list[EpochEnd]:
    """About so many of them at most, evenly spaced, with the last one among them."""
    step = ceil(len(ends) / most) or 1
    return list(reversed(list(reversed(ends))[::step]))


def _bytes(rows: Sequence[Sequence[float]]) -> str:
    """(epochs, channels) shadow values in [0, 1], as bytes in base64. Values outside are clipped."""
    return base64.b64encode(bytes(round(255 * min(1.0, max(0.0, v))) for row in rows for v in row)).decode()


def _plain(value: float | None) -> float | None:
    return float(f"{value:.{DIGITS}g}") if value is not None and isfinite(value) else None
