"""A front end before the network: from sound in memory to features, see search.integer.frontend."""

from dataclasses import asdict, dataclass, fields, replace
from math import isfinite
from typing import Any

import torch

from search.data.data import MASKS, DataError, Split
from search.integer.frontend import IMAGE, LOG_MEL, MFCC, SEQUENCE, FrontEnd

INT16 = 2**15


@dataclass
class FrontEndOptions:
    """What becomes of sound before the network.

    Attributes:
        kind: "log_mel" or "mfcc"; None: nothing, the network reads sound.
        frame_ms, hop_ms: milliseconds that a column of features is made from, and from one column to the next.
        bins: mel filters.
        coefficients: of "mfcc", the first of a cosine transform over the filters.
        low_hz, high_hz: what the filters cover; None: up to half the rate.
        layout: of features, "image" (1, rows, frames) for convolutions of two dimensions, or "sequence" (rows, frames)
            for those of one.
    """

    kind: str | None = None
    frame_ms: float = 32.0
    hop_ms: float = 16.0
    bins: int = 40
    coefficients: int = 10
    low_hz: float = 20.0
    high_hz: float | None = None
    layout: str = IMAGE


def front_end_of(options: FrontEndOptions, place: str, rate: int | None, samples: int) -> FrontEnd | None:
    """The front end that options describe, without offsets; None where they describe none.

    Args:
        place: the data, as errors should name it.
        rate: samples a second; None: not known.
        samples: of an example.

    Raises:
        DataError: there is no such front end, or it does not fit the sound.
    """
    _refuse_other_values(options)
    if options.kind is None:
        return None
    if rate is None:
        raise DataError(f"{place}: data.rate is null; a front end needs the samples a second. Set data.rate.")
    high = rate / 2 if options.high_hz is None else float(options.high_hz)
    found = FrontEnd(
        kind=options.kind,
        layout=options.layout,
        rate=int(rate),
        samples=samples,
        frame=round(rate * options.frame_ms / 1000),
        hop=round(rate * options.hop_ms / 1000),
        bins=options.bins,
        coefficients=options.coefficients if options.kind == MFCC else 0,
        low=float(options.low_hz),
        high=high,
    )
    fault = found.fault()
    if fault is not None:
        raise DataError(f"{place}: data.frontend: {fault}.")
    return found


def _refuse_other_values(options: FrontEndOptions) -> None:
    """Raises DataError for what no front end has, or what none reads."""
    given = asdict(options)
    for name, allowed in (("kind", (None, LOG_MEL, MFCC)), ("layout", (IMAGE, SEQUENCE))):
        if given[name] not in allowed:
            shown = ", ".join("null" if each is None else each for each in allowed)
            raise DataError(f"data.frontend.{name} is {given[name]!r}; allowed: {shown}.")
    if options.kind is None:
        unread = [each.name for each in fields(options) if given[each.name] != each.default]
        if unread:
            raise DataError(
                f"data.frontend: {', '.join(unread)} set, and data.frontend.kind is null, so that nothing reads them. "
                f"Set data.frontend.kind to {LOG_MEL} or {MFCC}, or leave them out."
            )
    for name in ("bins", "coefficients"):
        if not isinstance(given[name], int) or isinstance(given[name], bool):
            raise DataError(f"data.frontend.{name} is {given[name]!r}; allowed: a whole number.")
    for name in ("frame_ms", "hop_ms", "low_hz", "high_hz"):
        if not (_is_number(given[name]) or (name == "high_hz" and given[name] is None)):
            raise DataError(f"data.frontend.{name} is {given[name]!r}; allowed: a finite number, 0 or more.")


def _is_number(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and isfinite(value) and value >= 0


def refuse_masks(place: str, targets: str) -> None:
    """Raises DataError where targets belong to the places of sound, which features do not have."""
    if targets == MASKS:
        raise DataError(
            f"{place}: targets are masks, of the places of sound; features have others. Leave data.frontend out, or "
            "give labels."
        )


def with_features(frontend: FrontEnd, splits: dict[str, Split]) -> tuple[FrontEnd, dict[str, Split]]:
    """The front end with offsets and shifts of the training sounds, and the features of all.

    Args:
        splits: images (N, 1, T), float32 of whole numbers that int16 holds.

    Returns:
        And the splits with images (N, *frontend.shape), uint8.
    """
    features = {name: frontend.features(split.images[:, 0].to(torch.int16).numpy()) for name, split in splits.items()}
    fitted = frontend.fitted(features["train"])
    return fitted, {
        name: replace(split, images=torch.from_numpy(fitted.coded(features[name]))) for name, split in splits.items()
    }


def as_int16(sound: torch.Tensor) -> torch.Tensor:
    """Sound of -1 to 1 in the whole numbers of int16, rounded and clipped; float32 still."""
    return (sound * INT16).round_().clamp_(-INT16, INT16 - 1)
